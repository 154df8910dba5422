"""Start payctl, parse the command line, look up the command, and run it in a session."""
