"""Fails a run that could have been reached from the network: all that it starts binds loopback."""

import ipaddress
import os
import threading

import pytest
from classroom import kernel


class Listeners(threading.Thread):
    """Looks, while the tests run, at which addresses the processes that they start listen."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.elsewhere = set()  # "ADDRESS:PORT" of each that is not loopback

    def run(self):
        while not self.stop.wait(0.2):
            for address, port in kernel.listeners(kernel.family(os.getpid())):
                # Java binds ::ffff:127.0.0.1.
                if not ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback:
                    self.elsewhere.add(f"{address}:{port}")


def pytest_sessionstart(session):
    session.config.listeners = Listeners()
    # A server of somebody else's may listen where it likes.
    if not hasattr(session.config, "workerinput") and not session.config.server:
        session.config.listeners.start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail the run if somebody on the network could have reached what it had started."""
    listeners = session.config.listeners
    listeners.stop.set()
    if listeners.is_alive():
        listeners.join()
    if listeners.elsewhere:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if elsewhere := sorted(config.listeners.elsewhere):
        terminalreporter.write_line(f"ERROR: a test listened at {', '.join(elsewhere)}", red=True)
