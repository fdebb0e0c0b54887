"""What a machine may lack, and `.ci/run` installs."""

import os
import sys

import pytest

NO_FLASK = "Flask is missing; docs/flask.md says how to install it"


def leave_out(reason):
    """Skip this test; fail it on CI, where nothing may be missing."""
    on_ci = os.environ.get("CI") == "true" and sys.platform == "linux"
    (pytest.fail if on_ci else pytest.skip)(reason)
