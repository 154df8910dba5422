"""What PostgreSQL says of itself, its tables and its sessions: catalogues and statistics, and few rows of data."""
