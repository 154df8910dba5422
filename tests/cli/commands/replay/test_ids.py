"""Test replays whose event ids come from a list, a file or a message."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.cli.commands.replay.conftest import pending
from ticketbottle_payctl.aws.alerts import EVENT_DEAD, AlertTopic, DeadEventQueue, Pointer
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres


def test_ids_come_from_a_list_s_ndjson(invoke, ask, database_url, dead, tmp_path):
    """`payctl replay` reads ids from the ndjson output of a list, or from a file."""
    listed = invoke(
        "list", "outbox", "--failed", "--type", "PAYMENT_COMPLETED", "-o", "ndjson", DATABASE_URL=database_url
    )
    piped = invoke("replay", "-", "-y", "-o", "json", stdin=listed.stdout, DATABASE_URL=database_url)
    assert json.loads(piped.stdout)["counts"]["requeued"] == 3
    file = tmp_path / "ids"
    file.write_text(f"# of a colleague\n{dead[0]}\n\n{dead[0]}\n")
    assert ask("replay", "--from-file", str(file), "-n")["result"]["planned"] == 1


@pytest.mark.usefixtures("dead")
def test_a_truncated_list_is_refused_as_input_of_a_replay(invoke, database_url, engine):
    """`replay` exits with 2 for a truncated list. Otherwise, `replay` would silently omit the unlisted events."""
    select = ("list", "outbox", "--failed", "--type", "PAYMENT_COMPLETED", "-o", "ndjson")
    page = invoke(*select, "--limit", "2", DATABASE_URL=database_url).stdout
    refused = invoke("replay", "-", "-y", "-o", "json", stdin=page, DATABASE_URL=database_url)
    error = json.loads(refused.stdout)["error"]
    assert (refused.exit_code, "--all" in error["hint"], "--limit" in error["hint"]) == (2, True, True)
    assert pending(engine) == 0
    for enough in (["--all"], ["--limit", "3"]):
        whole = invoke(*select, *enough, DATABASE_URL=database_url).stdout
        taken = invoke("replay", "-", "-n", "-o", "json", stdin=whole, DATABASE_URL=database_url)
        assert json.loads(taken.stdout)["result"]["planned"] == 3


def test_a_failed_list_is_refused_as_input_of_a_replay(ask, dead, tmp_path):
    """`replay` exits with 2 for a list whose summary contains an error, because a pipe hides the list's exit code."""
    lines = [{"type": "item", "id": dead[0]}, {"type": "summary", "truncated": False, "error": {"code": "CONFIG"}}]
    file = tmp_path / "ids"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}\n", "{broken\n", "x" * 500, "\x1b[31m\n"])
def test_a_file_without_ids_is_refused(ask, tmp_path, content):
    """`replay` exits with 2 for a file that contains no valid id."""
    file = tmp_path / "ids"
    file.write_text(content)
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2


class Recorder:
    """A stand-in for an AWS client that records the messages that payctl sends."""

    def __init__(self):
        self.bodies, self.texts = [], []

    def send_message_batch(self, *, QueueUrl, Entries):  # noqa: N803 - the names of boto3
        """Record the body of each message."""
        del QueueUrl
        self.bodies += [entry["MessageBody"] for entry in Entries]
        return {}

    def publish(self, *, Message, **_):  # noqa: N803
        """Record the text of the message."""
        self.texts.append(Message)


def bodies_of(ids):
    """Return the messages about these events that the publisher's function sends to the dead-event queue."""
    client = Recorder()
    queue = DeadEventQueue("url", client=lambda _: client)
    queue.send([Pointer(each, "p", "PAYMENT_COMPLETED", 5, "MSG_SIZE_TOO_LARGE") for each in ids])
    return client.bodies


def alert_of(ids):
    """Return the message about these events that the publisher's function sends to the alert topic."""
    client = Recorder()
    topic = AlertTopic("arn", env="prod", client=lambda _: client)
    first = Pointer(ids[0], "p", "PAYMENT_COMPLETED", 5, "MSG_SIZE_TOO_LARGE")
    assert topic.tell(EVENT_DEAD, events=len(ids), **first._asdict())
    return client.texts[0]


FORMS = {
    "bodies, one a line": "\n".join,
    "an array of pointers": lambda bodies: json.dumps([json.loads(each) for each in bodies]),
    "one pointer on several lines": lambda bodies: json.dumps(json.loads(bodies[0]), indent=2),
    "aws sqs receive-message": lambda bodies: json.dumps(
        {"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": each} for each in bodies]}, indent=4
    ),
    "the same on one line": lambda bodies: json.dumps(
        {"Messages": [{"MessageId": "m", "Body": each} for each in bodies]}
    ),
    "one SQS message a line": lambda bodies: "\n".join(json.dumps({"MessageId": "m", "Body": each}) for each in bodies),
    "the event of a function behind SQS": lambda bodies: json.dumps(
        {"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": each} for each in bodies]}
    ),
    "SNS in SQS": lambda bodies: json.dumps(
        {
            "Messages": [
                {"Body": json.dumps({"Type": "Notification", "MessageId": "n", "Message": each})} for each in bodies
            ]
        }
    ),
    "the event of a function behind SNS": lambda bodies: json.dumps(
        {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "n", "Message": each}} for each in bodies]}
    ),
    "a list as one document": lambda bodies: json.dumps(
        {"items": [{"id": json.loads(each)["eventId"]} for each in bodies], "truncated": False, "error": None}
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["stdin", "file"])
def test_a_replay_reads_ids_from_messages_of_the_dead_event_queue(invoke, database_url, dead, tmp_path, form, way):
    """`replay` reads ids from messages in the dead-event queue, as printed by AWS's tools or payctl's functions."""
    content = FORMS[form](bodies_of(dead[:2]))
    file = tmp_path / "messages"
    file.write_text(content)
    where = ["-"] if way == "stdin" else ["--from-file", str(file)]
    options = {"stdin": content} if way == "stdin" else {}
    result = invoke("replay", *where, "-n", "-o", "json", DATABASE_URL=database_url, **options)
    expected = 1 if form.startswith("one pointer") else 2
    assert json.loads(result.stdout)["result"]["planned"] == expected


@pytest.mark.parametrize("wrapped", [False, True], ids=["the text of the email", "in SQS"])
def test_a_replay_reads_the_id_from_the_alert_about_one_dead_event(ask, dead, tmp_path, wrapped):
    """`replay` finds the event id in the text of an alert about a single dead event."""
    text = alert_of(dead[:1])
    file = tmp_path / "message"
    file.write_text(json.dumps({"Type": "Notification", "Message": text}) if wrapped else text)
    assert ask("replay", "--from-file", str(file), "-n")["result"]["planned"] == 1


def test_an_alert_about_several_dead_events_is_refused(ask, dead, tmp_path):
    """`replay` refuses an alert about several events, because the alert contains only the first event's id."""
    file = tmp_path / "message"
    file.write_text(alert_of(dead[:3]))
    document = ask("replay", "--from-file", str(file), "-y")
    assert (document["exit_code"], "3 dead events" in document["error"]["message"]) == (2, True)


@pytest.mark.parametrize(
    "content", ["[]", "[1]", '{"Messages": []}', '{"Messages": [{"Body": "hello"}]}', "[" * 20 + "]" * 20]
)
def test_messages_without_an_id_are_refused(ask, tmp_path, content):
    """`replay` exits with 2 for a file of messages that do not contain an event id."""
    file = tmp_path / "messages"
    file.write_text(content)
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2


@pytest.mark.parametrize("name", ["two words", " outer blanks ", "-begins-with-a-hyphen", "it's $(odd)", "--failed"])
def test_an_event_with_an_unusual_id_can_be_replayed(invoke, engine, database_url, name):
    """A command that `payctl show` suggests can replay an event with an unusual id."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error="INVALID_REQUEST: x")
        connection.exec_driver_sql("UPDATE outbox SET id = %(id)s", {"id": name})
    shown = json.loads(invoke("show", "-o", "json", "--", name, DATABASE_URL=database_url).stdout)
    (advised,) = shown["result"]["next"]
    command, *others = shlex.split(advised["command"])[1:]
    replayed = invoke(command, "-y", "-o", "json", *others, DATABASE_URL=database_url)
    assert (replayed.exit_code, json.loads(replayed.stdout)["counts"]["requeued"]) == (0, 1)


@pytest.mark.parametrize("line", ["two words", '{"id": " outer blanks "}'])
def test_a_file_may_contain_an_id_with_a_space(ask, engine, tmp_path, line):
    """`replay` accepts an id that contains a space, on its own line in a file or in the ndjson output of a list."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        name = json.loads(line)["id"] if line[0] == "{" else line
        connection.exec_driver_sql("UPDATE outbox SET id = %(id)s", {"id": name})
    file = tmp_path / "ids"
    file.write_text(f"{line}\n")
    assert ask("replay", "--from-file", str(file), "-y")["counts"]["requeued"] == 1


@pytest.mark.parametrize("line", ["MOMO_SECRET_KEY=canary", "password = canary", "url=postgresql://:canary@h/d"])
def test_a_line_with_a_secret_is_not_an_id(line, invoke, database_url, tmp_path):
    """`replay` refuses a file that contains keys, and does not show any of its content."""
    file = tmp_path / "keys"
    file.write_text(line, "utf-8")
    result = invoke("replay", "--from-file", str(file), "-n", "-vv", DATABASE_URL=database_url)
    assert (result.exit_code, "is not an id" in result.stderr) == (2, True)
    assert "canary" not in result.stdout + result.stderr
