"""Write a result as text for people or as JSON, NDJSON or CSV for programs, and define the exit codes."""
