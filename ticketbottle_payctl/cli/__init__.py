"""The command line. A command parses its options, calls one job, prints the report, and exits with the exit code."""
