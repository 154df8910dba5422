-- Who published a shard last. Not a lock: it tells a publisher whether what it remembers of the shard still holds.
CREATE TABLE payctl.publishers (
    shard integer PRIMARY KEY,
    owner text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
