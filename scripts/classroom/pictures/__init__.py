"""Draws the pictures in docs/pictures/ from the records of sessions."""
