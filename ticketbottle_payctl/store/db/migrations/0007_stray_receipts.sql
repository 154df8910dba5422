-- `payctl show` finds a callback without a payment by the gateway's name for the order. Almost all receipts have a payment
-- and need no entry.
CREATE INDEX webhook_receipts_order_ref ON payctl.webhook_receipts USING hash (order_ref)
    WHERE payment_id IS NULL OR reference = '';
