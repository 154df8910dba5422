"""Read PostgreSQL's own data about the server, its tables and its sessions."""
