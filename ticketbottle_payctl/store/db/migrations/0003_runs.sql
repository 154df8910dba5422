-- What operators ran: who, when, why, with which options, and how it ended.
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

-- The plan of a run, a transaction's worth of rows in each: what is not applied yet is what a resumed run does.
CREATE TABLE payctl.run_chunks (
    run_id     uuid NOT NULL REFERENCES payctl.runs,
    number     integer NOT NULL,
    event_ids  text[] NOT NULL,
    places     tid[] NOT NULL,
    versions   bigint[] NOT NULL,
    applied_at timestamptz,
    PRIMARY KEY (run_id, number)
);

-- Each row that a run touched or left alone, as it was and as it became.
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
-- A hash index is the cheapest to write, and a run writes many.
CREATE INDEX run_items_item_id ON payctl.run_items USING hash (item_id);
