-- The number of one transfer of money. Two numbers for one payment mean that the customer paid twice.
ALTER TABLE payctl.webhook_receipts ADD COLUMN payment_number text;
