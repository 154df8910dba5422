"""Test that the runbook contains every alarm, and that the list of how-to pages is complete."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from deploy.alarms import ALARMS
from deploy.alarms.model import LOGICAL, Silence
from ticketbottle_payctl.aws.alerts import MEANINGS
from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.metrics import BY_NAME, Function
from ticketbottle_payctl.providers import GATEWAYS

PAGING = [alarm.name for alarm in ALARMS if alarm.pages]
HEADINGS = [*(alarm.name for alarm in ALARMS), "PaymentsUnhealthy", *MEANINGS]


@pytest.fixture(scope="module")
def sections(root):
    """Return the text below each third-level heading. A heading without text shares the next heading's text."""
    text = (root / "docs" / "runbook.md").read_text("utf-8")
    found, waiting = {}, []
    for name, words in re.findall(r"^### (.+)\n((?:(?!#).*\n)*)", text, re.MULTILINE):
        waiting.append(name)
        if words.strip():
            found |= dict.fromkeys(waiting, words.strip())
            waiting = []
    return found


@pytest.mark.parametrize("name", HEADINGS)
def test_every_alarm_and_message_is_in_the_runbook(sections, name):
    """The runbook contains a heading with text for each alarm and each kind of message."""
    assert name in sections


def test_the_runbook_marks_exactly_the_alarms_that_page(sections):
    """The runbook marks exactly those alarms that, according to the template, page an operator."""
    marked = {name for name, words in sections.items() if words.startswith("●")}
    assert marked == set(PAGING)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_runbook_has_each_reply_to_a_gateway(sections, gateway):
    """For each gateway, the runbook has the status and body of each reply that the gateway's portal can show."""
    (row,) = re.findall(rf"^\| {gateway} \| .*$", sections["WebhookTryAgain"], re.MULTILINE | re.IGNORECASE)
    for answer in (Answer.TRY_AGAIN, Answer.NOT_CONFIGURED):
        reply = GATEWAYS[gateway].reply(answer)
        assert f"| {reply.status} `{reply.body}` |" in row


def test_every_how_to_page_is_in_the_list(root):
    """The README of docs/how-to links to every how-to page."""
    folder = root / "docs" / "how-to"
    index = (folder / "README.md").read_text("utf-8")
    assert [
        page.name for page in folder.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []


def test_the_runbook_has_no_alarm_that_no_longer_exists(sections):
    """Every runbook heading that looks like an alarm's name is the name of an alarm."""
    named = {name for name in sections if re.fullmatch(r"(?:[A-Z][a-z]+)+", name)}
    assert named <= set(HEADINGS)


def test_the_deployment_page_names_existing_parameters_and_outputs(root, template):
    """docs/deploy.md names only existing parameters and outputs, and names every required parameter."""
    text = (root / "docs" / "deploy.md").read_text("utf-8")
    policies = [json.loads(path.read_text("utf-8"))["Statement"] for path in (root / "deploy").glob("*-policy.json")]
    reaches = {re.match("[A-Z][a-z]+[A-Z][a-z]+?(?=[A-Z])", one["Sid"])[0] for policy in policies for one in policy}
    known = {*template["Parameters"], *template["Outputs"], *HEADINGS, *reaches}
    words = {word for word in re.findall(r"`([A-Z][A-Za-z]+)(?:=[^`]*)?`", text) if re.search(r"[a-z][A-Z]", word)}
    not_ours = {"RspCode", "DatabaseConnections", "DatabaseConnectionsCurrentlySessionPinned"}
    not_ours |= {"UnreservedConcurrentExecutions", "BootstrapBrokerStringSaslScram", "BootstrapBrokerStringTls"}
    assert words - known - BY_NAME.keys() - not_ours == set()
    required = {name for name, one in template["Parameters"].items() if "Default" not in one}
    made_by_the_build = {"CodeBucket", "CodeKey", "LayerKey"}
    assert {name for name in required - made_by_the_build if name not in text} == set()


def test_the_deployment_page_names_the_alarms_that_wait_for_data(root):
    """docs/deploy.md lists exactly the alarms that are on in a new stack because they treat missing data as a fault."""
    text = (root / "docs" / "deploy.md").read_text("utf-8")
    (listed,) = re.findall(
        r"Until their first data arrives, these alarms are on: (.*?) If an\s+alarm stays", text, re.DOTALL
    )
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", listed)) - {"ReconcilePayments"}
    assert named == {alarm.name for alarm in ALARMS if alarm.silence is Silence.IS_A_FAULT}


def test_the_pager_s_filter_names_the_alarm_that_pages(root):
    """The filter that docs/deploy.md shows for a pager is valid JSON, and names only the PaymentsUnhealthy alarm."""
    text = (root / "docs" / "deploy.md").read_text("utf-8")
    (attributes,) = re.findall(r"--attributes (.+)$", text, re.MULTILINE)
    command = ["/bin/bash", "-euc", f"printf %s {attributes}"]
    done = subprocess.run(command, env={"STACK": "payctl-prod"}, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["FilterPolicyScope"] == "MessageBody"
    assert json.loads(found["FilterPolicy"]) == {"AlarmName": ["payctl-prod-PaymentsUnhealthy"]}


def test_the_log_groups_of_the_stack_are_in_the_runbook(root, of_type):
    """The runbook names every log group in the template."""
    names = {group["LogGroupName"]["Fn::Sub"].rpartition("/")[2] for group in of_type("Logs::LogGroup").values()}
    text = (root / "docs" / "runbook.md").read_text("utf-8")
    sentence = re.search(r"Each function has its own log: .*?access`", text, re.DOTALL)[0]
    assert {name for name in names if not re.search(rf"[`/]{name}`", sentence)} == set()


def test_the_alarms_of_a_planned_pause_exist(root):
    """The command in docs/deploy.md that silences alarms names every alarm that needs a running publisher."""
    (names,) = re.findall(
        r"^ALARMS=\(\$STACK-\{(.*)\}\)$", (root / "docs" / "deploy.md").read_text("utf-8"), re.MULTILINE
    )
    silenced = set(names.split(","))
    assert silenced - {alarm.name for alarm in ALARMS} == {"PaymentsUnhealthy"}
    publisher = {"Ref": LOGICAL[Function.PUBLISH_OUTBOX]}
    need_it = {
        alarm.name
        for alarm in ALARMS
        if alarm.silence is Silence.IS_A_FAULT
        and (alarm.watch.dimensions.get("FunctionName") == publisher or alarm.watch.name.startswith("Outbox"))
    }
    assert need_it <= silenced
    assert need_it
