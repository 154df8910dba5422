-- The commands that operators ran, with the operator, time, reason, options and result.
CREATE TABLE payctl.runs (
    id          uuid PRIMARY KEY,
    command     text NOT NULL,
    status      text NOT NULL,
    os_user     text NOT NULL,
    host        text NOT NULL,
    actor       text,
    db_role     text NOT NULL DEFAULT session_user,
    reason      text,
    profile     text,
    selector    jsonb NOT NULL DEFAULT '{}',
    options     jsonb NOT NULL DEFAULT '{}',
    counts      jsonb NOT NULL DEFAULT '{}',
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX runs_started_at ON payctl.runs (started_at);

-- The chunks of a run's plan. Each chunk is applied in one transaction. A resumed run applies the remaining chunks.
CREATE TABLE payctl.run_chunks (
    run_id     uuid NOT NULL REFERENCES payctl.runs,
    number     integer NOT NULL,
    event_ids  text[] NOT NULL,
    places     tid[] NOT NULL,
    versions   bigint[] NOT NULL,
    applied_at timestamptz,
    PRIMARY KEY (run_id, number)
);

-- Each row that a run changed or left unchanged, with its values before and after.
CREATE TABLE payctl.run_items (
    run_id  uuid NOT NULL,
    chunk   integer NOT NULL,
    place   integer NOT NULL,
    item_id text NOT NULL,
    outcome text NOT NULL,
    reason  text,
    before  jsonb,
    after   jsonb,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, chunk, place)
);
-- A hash index costs least to write, and a run writes many rows.
CREATE INDEX run_items_item_id ON payctl.run_items USING hash (item_id);
