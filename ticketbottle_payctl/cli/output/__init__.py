"""Write a result as text for people, as JSON, NDJSON or CSV for programs, and return it as an exit code."""
