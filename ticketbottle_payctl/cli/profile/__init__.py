"""Read profiles, decide which guards apply, and compare the servers in settings."""
