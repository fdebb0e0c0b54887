"""What the commands and the tests share: the stages, their sessions, and the player of sessions."""
