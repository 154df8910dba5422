"""One file or package for each command: read the options, call one job, return its result."""
