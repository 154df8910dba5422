"""Payments, callbacks, events and their rules: pure functions on frozen values, without a driver or a clock."""
