"""Profiles, the guards they set, and the places their settings lead to."""
