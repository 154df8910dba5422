"""Ask for confirmation before a change, and refuse changes that the profile forbids."""
