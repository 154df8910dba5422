-- The gateway's number for a transfer of money. Two numbers for one payment mean that the customer paid twice.
ALTER TABLE payctl.webhook_receipts ADD COLUMN payment_number text;
