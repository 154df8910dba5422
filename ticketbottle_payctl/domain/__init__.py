"""Define payments, callbacks, events and their rules. All functions are pure. They use no driver and no clock."""
