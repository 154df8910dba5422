"""All SQL. Functions take an open connection, never commit, and say which guard each statement keeps."""
