-- Reports and lists search the closing records of all payments. A replay writes a row for each event, so almost all rows
-- are not closing records and need no entry.
CREATE INDEX run_items_closed ON payctl.run_items (item_id) WHERE outcome = 'closed';
