-- If payctl could not read a callback, a later receipt with the same bytes may have its payment. Receipts without a
-- payment need no entry.
CREATE INDEX webhook_receipts_body_sha256 ON payctl.webhook_receipts USING hash (body_sha256)
    WHERE payment_id IS NOT NULL;
