-- The last publisher of each shard. This is not a lock. It shows a publisher whether its memory of the shard is valid.
CREATE TABLE payctl.publishers (
    shard integer PRIMARY KEY,
    owner text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
