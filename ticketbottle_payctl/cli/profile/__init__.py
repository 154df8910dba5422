"""Profiles, their guards, and the servers that their settings lead to."""
