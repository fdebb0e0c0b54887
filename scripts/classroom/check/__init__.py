"""Checks a server that somebody else wrote against the behaviours of a stage."""
