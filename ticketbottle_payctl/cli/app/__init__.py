"""Start payctl, parse the command line, list the commands, and run a command in its session."""
