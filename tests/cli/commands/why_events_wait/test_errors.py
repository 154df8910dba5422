"""Test that ``payctl errors`` counts the events that wait without an error."""

from __future__ import annotations

import pytest

from tests.cli.commands.why_events_wait.conftest import HALF_A_MINUTE, MINUTES, SECONDS, SEEN

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("age", "seen", "mark", "waits"),
    [
        (SECONDS, "1 h", "✔", False),
        (HALF_A_MINUTE, "1 h", "!", True),
        (HALF_A_MINUTE, "40 s", "✔", True),
        (MINUTES, "40 s", "!", True),
    ],
)
@pytest.mark.parametrize("failed", [False, True])
def test_errors_counts_the_events_that_wait_without_an_error(
    world, given, invoke, answer, age, seen, mark, waits, failed
):
    """`payctl errors` counts the events that are waiting without an error, and shows the same mark as `stats`.

    With a selector, it counts only the selected events that failed.
    """
    given({"age": age}, SEEN.format(seen), *[{"age": SECONDS, "retry_count": 1, "last_error": "no"}][:failed])
    shown = invoke("errors", **world).stdout
    assert shown[0] == ("!" if failed else mark), shown
    assert ("\n   1 event is waiting without an error:  payctl doctor\n" in shown) is waits
    assert answer("errors", **world)["counts"]["waiting"] == int(waits)
    assert "without an error" not in invoke("errors", "--failed", **world).stdout
    assert "waiting" not in answer("errors", "--failed", **world)["counts"]
    assert failed or invoke("stats", **world).stdout[0] == mark


@pytest.mark.parametrize(("retries", "waiting"), [(0, 1), (1, 0)])
def test_errors_counts_a_locked_event_only_once(world, given, engine, answer, retries, waiting):
    """`payctl errors` counts an event with a row lock either in its group or as waiting, but not in both."""
    given({"age": MINUTES, "retry_count": retries, "last_error": "no" if retries else None})
    with engine.begin() as holder:
        holder.exec_driver_sql("SELECT FROM outbox FOR UPDATE")
        document = answer("errors", **world)
    assert document["counts"] == {"groups": retries, "events": retries, "closed": 0, "waiting": waiting}


@pytest.mark.parametrize("failed", [False, True])
def test_errors_prints_its_groups_if_the_waiting_events_cannot_be_counted(world, given, engine, invoke, answer, failed):
    """If a lock stops `payctl errors` from counting waiting events, it prints the groups and a warning."""
    given({"age": MINUTES}, *[{"age": SECONDS, "retry_count": 1, "last_error": "no"}][:failed])
    with engine.begin() as holder:
        holder.exec_driver_sql("LOCK TABLE payctl.publishers IN ACCESS EXCLUSIVE MODE")
        document = answer("errors", **world)
        shown = invoke("errors", **world)
    assert document["exit_code"] == 6
    assert document["counts"] == {"groups": int(failed), "events": int(failed), "closed": 0}
    (warning,) = document["warnings"]
    assert warning.startswith("the events that are waiting without an error were not counted, because")
    assert (shown.exit_code, shown.stdout[0], "were not counted" in shown.stderr) == (6, "!", True)
    assert answer("errors", "--failed", **world)["exit_code"] == 0
