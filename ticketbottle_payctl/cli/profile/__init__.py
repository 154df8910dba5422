"""Profiles, their guards, and the servers in their settings."""
