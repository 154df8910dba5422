"""Compare gateways' names in SQL. The payment service may spell a gateway's name differently from payctl."""

from __future__ import annotations

SAME_GATEWAY = "translate(lower({}), '-_ ', '') = translate(lower(%(provider)s), '-_ ', '')"
"""An SQL condition that is true if two spellings name the same gateway, such as ``ZALOPAY`` and ``zalo-pay``."""
