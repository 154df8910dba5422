"""Test that runs are found and listed correctly, and that the command line suggests the right ids."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from ticketbottle_payctl.errors import InputError, NotFoundError
from ticketbottle_payctl.jobs.complete_ids import largest_error_groups, latest_runs
from ticketbottle_payctl.jobs.find_order import find_order
from ticketbottle_payctl.jobs.find_receipt import find_receipt
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.jobs.runs import count_remaining, find_run, list_runs, show_run
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl import run_items, runs
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.postgres
IDS = [str(UUID(int=number, version=4)) for number in (0xABCD << 112, (0xABCD << 112) + 1, 0xABCE << 112)]


@pytest.fixture
def recorded(engine):
    """Record three runs, each in its own transaction. The first run has three rows."""
    for name in IDS:
        with engine.begin() as connection:
            runs.start(connection, NewRun(name, "close", Actor("linh", "bastion")))
    with engine.begin() as connection:
        for place in range(3):
            run_items.record_payment(connection, IDS[0], place, f"p{place}", "closed", None)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(("limit", "shown", "more"), [(1, 1, True), (2, 2, True), (3, 3, False), (4, 3, False)])
def test_a_page_of_runs_says_if_older_runs_exist(engine, limit, shown, more):
    """A page has at most the given number of runs, latest first, and says whether older runs exist."""
    page = list_runs(engine, limit)
    assert ([run.id for run in page.runs], page.more) == (IDS[::-1][:shown], more)
    details = show_run(engine, IDS[0], limit, max_retries=5)
    assert ([item.item_id for item in details.items], details.more) == (["p0", "p1", "p2"][:shown], more)
    assert (details.run.id, details.remaining, count_remaining(engine, details.run)) == (IDS[0], 0, 0)


@pytest.mark.usefixtures("recorded")
def test_a_run_is_found_by_four_characters_of_its_id(engine):
    """A run is found by its id's first four characters, in lower or upper case, if no other id begins with them."""
    assert find_run(engine, "abce").id == find_run(engine, "ABCE").id == IDS[2]
    assert find_run(engine, IDS[1]).id == IDS[1]
    every_digit = "01234567-89ab-cdef-8123-456789abcdef"
    with engine.begin() as connection:
        runs.start(connection, NewRun(every_digit, "close", Actor("linh", "bastion")))
    assert find_run(engine, every_digit).id == every_digit
    for prefix in ("abc", "abcg", "abc%"):
        with pytest.raises(InputError, match="give at least 4 characters"):
            find_run(engine, prefix)
    with pytest.raises(InputError, match="abcd is ambiguous"):
        find_run(engine, "abcd")
    with pytest.raises(NotFoundError, match="no run has the id abcf"):
        find_run(engine, "abcf")


def test_the_details_of_a_replay_say_what_happened_to_its_events(engine, execute):
    """The details of a replay have the present states of its events, and the details of another run do not."""
    with engine.begin() as connection:
        insert_events(connection, 3, state="dead")
    options = ReplayOptions()
    plan = plan_replay(engine, Selector(failed=True), max_retries=5)
    replay(engine, plan, NewRun(IDS[0], "replay", Actor("linh", "bastion")), options, max_retries=5)
    execute("""UPDATE outbox SET published = true, "publishedAt" = now() WHERE id = (SELECT max(id) FROM outbox)""")
    since = show_run(engine, IDS[0], 9, max_retries=5).since
    assert (since.progress.pending, since.progress.dead, since.progress.published) == (2, 0, 1)
    assert since.publishing.running is False
    with engine.begin() as connection:
        runs.start(connection, NewRun(IDS[1], "cleanup", Actor("linh", "bastion")))
    assert show_run(engine, IDS[1], 9, max_retries=5).since is None


@pytest.mark.usefixtures("recorded")
def test_runs_and_error_groups_are_suggested_in_the_order_of_their_lists(engine):
    """The command line suggests the latest runs first, and the largest groups of errors first."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error="ONE: no")
        insert_events(connection, 2, state="dead", last_error="TWO: no")
    assert [run.id for run in latest_runs(engine)] == IDS[::-1]
    assert [group.pattern for group in largest_error_groups(engine, 5)] == ["TWO: no", "ONE: no"]


def test_at_most_fifty_runs_are_suggested(engine):
    """The command line suggests the latest 50 runs."""
    with engine.begin() as connection:
        for _ in range(51):
            runs.start(connection, NewRun(str(uuid4()), "close", Actor("linh", "bastion")))
    assert [run.id for run in latest_runs(engine)] == [run.id for run in list_runs(engine, 50).runs]


def test_an_unknown_order_is_answered_with_the_codes_that_end_in_it(engine):
    """If no payment has the given code, the hint lists the codes that end with it, or suggests `list payments`."""
    with engine.begin() as connection:
        payment = insert_payment(connection, order_code="TB-1234")
    assert find_order(engine, "TB-1234").id == payment.id
    with pytest.raises(NotFoundError) as near:
        find_order(engine, "1234")
    assert near.value.hint == "order codes that end with this text: TB-1234"
    with pytest.raises(NotFoundError) as far:
        find_order(engine, "9999")
    assert far.value.hint == "payctl list payments"


def test_an_unknown_receipt_is_an_error(engine):
    """If no receipt has the given id, the error names the command that lists the ids of receipts."""
    with pytest.raises(NotFoundError, match="no receipt has this id") as raised:
        find_receipt(engine, IDS[0])
    assert "payctl list receipts" in raised.value.hint
