"""Read what PostgreSQL says about itself, its tables and its sessions."""
