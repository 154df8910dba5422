-- Every genuine callback as it was received, with payctl's decision. Rows are never changed; only a cleanup deletes
-- them.
CREATE TABLE payctl.webhook_receipts (
    id                     uuid PRIMARY KEY,
    received_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    provider               text NOT NULL,
    order_ref              text NOT NULL,
    reference              text NOT NULL,
    gateway_transaction_id text,
    amount                 bigint,
    currency               text NOT NULL,
    outcome                text NOT NULL,
    result                 text NOT NULL,
    reason                 text,
    method                 text NOT NULL,
    path                   text NOT NULL,
    query                  text NOT NULL,
    body                   bytea NOT NULL,
    body_sha256            bytea NOT NULL,
    payment_id             text,
    event_id               text,
    correlation_id         text,
    traceparent            text
);
CREATE INDEX webhook_receipts_received_at ON payctl.webhook_receipts (received_at);
-- A hash index accepts a string of any length. A genuine callback must not fail because its reference is long.
CREATE INDEX webhook_receipts_reference ON payctl.webhook_receipts USING hash (reference);
CREATE INDEX webhook_receipts_payment_id ON payctl.webhook_receipts (payment_id);

-- The values for an event's message headers that have no column in the payment service's table.
CREATE TABLE payctl.event_context (
    event_id       text PRIMARY KEY,
    correlation_id text,
    traceparent    text,
    replay_run_id  text
);
