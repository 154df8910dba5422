"""Insert receipts of refused callbacks about money."""

from __future__ import annotations


def refused_money(connection, payment):
    """Insert a receipt of a refused callback about money that an operator must deal with."""
    connection.exec_driver_sql(
        """
        INSERT INTO payctl.webhook_receipts (id, provider, order_ref, reference, amount, currency, outcome, result,
            reason, method, path, query, body, body_sha256, payment_id)
        VALUES (gen_random_uuid(), 'momo', %s, %s, 1, 'VND', 'COMPLETED', 'refused', 'wrong_amount', 'POST', '/', '',
            '', '', %s)
        """,
        (payment.order_code, payment.reference, payment.id),
    )
