"""``payctl show``: how an order stands, and its history from the callback to the message in Kafka."""
