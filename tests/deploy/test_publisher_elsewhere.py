"""Test a stack whose events another publisher sends, for example in a container on EKS."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from deploy.alarms import ALARMS
from deploy.alarms.model import LOGICAL, PUBLISHES_HERE
from lambda_entrypoints.publish_outbox import RESERVE_SECONDS
from ticketbottle_payctl.metrics import Function

CONDITIONAL = {alarm.name for alarm in ALARMS if alarm.condition == PUBLISHES_HERE}


@pytest.fixture(scope="module")
def page(root):
    """Return the text of the page about the publisher on EKS."""
    return (root / "docs" / "how-to" / "publisher-on-eks.md").read_text("utf-8")


def test_the_function_publishes_by_default(template):
    """Without the Publisher parameter, the stack has its schedule and all its alarms."""
    assert template["Parameters"]["Publisher"]["Default"] == "function"
    assert set(template["Parameters"]["Publisher"]["AllowedValues"]) == {"function", "elsewhere"}
    assert template["Conditions"][PUBLISHES_HERE] == {"Fn::Equals": [{"Ref": "Publisher"}, "function"]}


def test_only_the_publisher_s_schedule_depends_on_the_publisher(template, of_type):
    """`Publisher=elsewhere` turns off the publisher's schedule. The function, its role and its log stay."""
    states = {name: one["State"] for name, one in of_type("Scheduler::Schedule").items() if "State" in one}
    assert states == {
        "PublishOutboxFunctionEveryMinute": {"Fn::If": [PUBLISHES_HERE, {"Ref": "PublishScheduleState"}, "DISABLED"]}
    }
    own = {name: one["Type"] for name, one in template["Resources"].items() if one.get("Condition") == PUBLISHES_HERE}
    assert set(own.values()) == {"AWS::CloudWatch::Alarm"}
    assert {name.removesuffix("Alarm") for name in own} == CONDITIONAL


def test_exactly_the_alarms_that_watch_the_publisher_s_function_depend_on_it():
    """If the function does not run, no alarm about it exists. All other alarms exist with either value."""
    function, log = {"Ref": LOGICAL[Function.PUBLISH_OUTBOX]}, {"Ref": "PublishOutboxLogGroup"}
    about_it = {
        alarm.name
        for alarm in ALARMS
        if alarm.watch.dimensions.get("function") == Function.PUBLISH_OUTBOX.value
        or function in alarm.watch.dimensions.values()
        or log in alarm.watch.dimensions.values()
    }
    assert about_it == CONDITIONAL
    assert {"OutboxLate", "OutboxStuck", "DeadEvents", "PublishOutboxSilent"} <= CONDITIONAL


def test_the_page_leaves_out_the_steps_that_start_the_jobs(root, page):
    """The page leaves out only the steps of container.md that start the jobs. The functions do the jobs' work."""
    text = (root / "docs" / "how-to" / "container.md").read_text("utf-8")
    steps = dict(re.findall(r"^(\d)\. (.*?)(?=^\d\. |^\S)", text, re.DOTALL | re.MULTILINE))
    starts = {number: set(re.findall(r"kubernetes/([a-z-]+)\.yaml", step)) for number, step in steps.items()}
    last, *left_out = re.search(r"Do steps 1 to (\d) of that page\. Leave out\s+steps (\d) and (\d),", page).groups()
    assert {number: started for number, started in starts.items() if started} == {
        last: {"publisher"},
        left_out[0]: {"cleanup"},
        left_out[1]: {"reconcile-payments"},
    }
    assert [int(number) for number in left_out] == [int(last) + 1, int(last) + 2]
    assert len(steps) == int(last) + 2


def test_the_page_names_the_alarms_that_do_not_exist(page):
    """The page lists exactly the alarms that a stack with `Publisher=elsewhere` does not have."""
    (listed,) = re.findall(r"these alarms do not exist: (.*?)\.\n", page, re.DOTALL)
    assert sorted(re.findall(r"`([A-Za-z]+)`", listed)) == sorted(CONDITIONAL)


def test_the_pods_can_share_the_outbox_with_the_function(functions, root):
    """The function and the pods of the manifest both use the default number of shards."""
    assert "PAYCTL_SHARDS" not in functions["PublishOutboxFunction"]["Environment"]["Variables"]
    assert "PAYCTL_SHARDS" not in (root / "deploy" / "kubernetes" / "publisher.yaml").read_text("utf-8")


def test_the_page_names_existing_parameters(page, template):
    """Every parameter with a value on the page exists, and the template accepts the value."""
    given = re.findall(r"`([A-Z][A-Za-z]+)=([^`\s]+)`", page)
    assert {name for name, _ in given} >= {"LoopSeconds", "Publisher"}
    for name, value in given:
        parameter = template["Parameters"][name]
        assert value in map(str, parameter.get("AllowedValues", [value])), json.dumps([name, value])


def test_the_page_names_objects_of_the_manifests(page, root):
    """Every deployment, job, label and container command on the page is the one that a manifest creates."""
    made = {}
    for path in (root / "deploy" / "kubernetes").glob("*.yaml"):
        for each in yaml.safe_load_all(path.read_text("utf-8")):
            made.setdefault(each["kind"].lower(), set()).add(each["metadata"]["name"])
    named = re.findall(r"\b(deployment|cronjob)[/ ](payctl-[a-z-]+)", page)
    assert {kind for kind, _ in named} == {"deployment", "cronjob"}
    assert [(kind, name) for kind, name in named if name not in made[kind]] == []
    assert set(re.findall(r"-l app=([a-z-]+)", page)) == made["deployment"]
    secrets = set(re.findall(r"create secret generic ([a-z-]+)", page))
    manifest = (root / "deploy" / "kubernetes" / "publisher.yaml").read_text("utf-8")
    assert secrets == set(re.findall(r"secretRef: \{ name: ([a-z-]+) \}", manifest))


def test_the_page_says_how_long_a_tick_on_standby_can_run(page, functions):
    """With `LoopSeconds=0`, a tick can run for the timeout minus the reserve. PublishOutboxSlow fires before that."""
    longest = functions["PublishOutboxFunction"]["Timeout"] - RESERVE_SECONDS
    (written,) = re.findall(r"A tick then runs for up to (\d+) s", page)
    assert int(written) == longest
    (slow,) = (alarm for alarm in ALARMS if alarm.name == "PublishOutboxSlow")
    assert slow.above < longest * 1000
