"""The connection to PostgreSQL: engine, driver, pool, time limits and payctl's own migrations."""
