"""Define payments, callbacks, events and their rules. All functions are pure: they do not use a driver or a clock."""
