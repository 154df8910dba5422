"""What is true: payments, callbacks, events and their rules. Pure functions on frozen values; no driver, no clock."""
