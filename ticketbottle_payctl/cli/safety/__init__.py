"""Ask before a command changes something, and refuse what the profile forbids."""
