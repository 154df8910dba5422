"""Turn what was typed, or a file that was named, into values."""
