"""All SQL. A function gets an open connection, never commits, and names the guard of each statement."""
