"""Read profiles, decide which guards apply, and check whether two settings name the same server."""
