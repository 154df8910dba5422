"""The command line: parse, call one job, render its report, leave with the code of its outcome."""
