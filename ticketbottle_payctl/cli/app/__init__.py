"""The process, the parser, the list of commands, and the session that a command runs in."""
