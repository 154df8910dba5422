"""Implement ``payctl listen``: answer callbacks on this machine, or pass them on to a local service."""
