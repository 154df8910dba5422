"""Check the rules that must hold after any fault. Every test that injects a fault uses part of this checker.

:mod:`.messages` compares the outbox with Kafka. :mod:`.payments`, :mod:`.receipts`, :mod:`.archive` and :mod:`.runs`
compare the tables with the test's inputs and with the audit tables of :mod:`.audit`. :mod:`.leaks` searches for
secrets. :mod:`.growth` evaluates memory, descriptors and threads.
"""

from tests.checker.messages import TOPIC_OF, Row, Verdict, judge, rows_of

__all__ = ["TOPIC_OF", "Row", "Verdict", "judge", "rows_of"]
