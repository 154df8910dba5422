"""Connect to PostgreSQL: engine, driver, pool, time limits, and the migrations of payctl's own schema."""
