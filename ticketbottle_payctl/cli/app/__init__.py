"""The process, the parser, the list of commands, and the session that one command runs in."""
