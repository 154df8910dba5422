"""All SQL. A function gets an open connection and never commits. Its docstring names the guards of its statements."""
