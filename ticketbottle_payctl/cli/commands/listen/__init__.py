"""Implement ``payctl listen``, which answers callbacks on this machine, or passes them on to a local service."""
