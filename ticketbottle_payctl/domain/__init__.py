"""Define payments, callbacks, events and their rules. All functions are pure: they use no driver and no clock."""
