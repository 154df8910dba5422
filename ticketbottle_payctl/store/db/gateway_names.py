"""Compare gateways' names in SQL. The payment service may spell a gateway's name differently from payctl."""

from __future__ import annotations

GATEWAY = "translate(lower(provider), '-_ ', '')"
"""An SQL expression for payctl's name of a payment's gateway."""

SAME_GATEWAY = "translate(lower({}), '-_ ', '') = translate(lower(%(provider)s), '-_ ', '')"
"""An SQL condition that is true if two spellings mean the same gateway, such as ``ZALOPAY`` and ``zalo-pay``."""
