"""Define payments, callbacks, events and their rules as pure functions on frozen values, without driver or clock."""
