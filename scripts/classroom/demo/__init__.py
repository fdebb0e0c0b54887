"""The demo: plays the sessions of the lessons for an audience."""
