"""Test that every gateway is on the pages, and that the contributors' guide names every place."""

from __future__ import annotations

import pytest

from tests.add_a_gateway.missing import ROOT, need, report, section, value
from tests.add_a_gateway.places import (
    FILES,
    JSON_TABLE,
    METHODS,
    OTHERS,
    PAGES,
    READINGS,
    ROWS,
    TABLES,
    TABLES_OF_VARIABLES,
)
from ticketbottle_payctl import formats
from ticketbottle_payctl.domain.callback import Answer
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES


def test_the_example_of_gateways_list_counts_every_gateway():
    """The example output of `gateways list` counts all gateways, as payctl does."""
    text = (ROOT / "docs/how-to/gateways.md").read_text("utf-8")
    wanted = f"of {len(GATEWAYS)} gateways"
    need(wanted in text, f"change the example in docs/how-to/gateways.md: {wanted}")


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_that_compares_the_gateways_has_the_gateway(name, gateway):
    """A page that compares the gateways contains each gateway's display name."""
    label = formats.PROVIDERS.get(gateway, gateway)
    need(label in (ROOT / name).read_text("utf-8"), f"describe {label} in {name}")


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize(("name", "heading", "text"), ROWS)
def test_every_table_of_the_pages_has_the_gateway(name, heading, text, gateway):
    """Each table or list of gateways in the pages contains each gateway."""
    wanted = text.format(
        name=gateway,
        label=formats.PROVIDERS.get(gateway, gateway),
        output=value("tests/deploy/test_domain.py OUTPUTS").get(gateway, f"the output of {gateway}"),
        url=value("tests/deploy/test_parameters.py URLS").get(gateway, f"the ...Url parameter of {gateway}"),
        address=f"PAYCTL_{gateway.upper()}_URL",
        try_again=reply_in_a_page(gateway, Answer.TRY_AGAIN),
        not_configured=reply_in_a_page(gateway, Answer.NOT_CONFIGURED),
    )
    need(wanted in section(name, heading), f"add {wanted.strip()} to {name}, {heading.lstrip('# ')}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_deploy_md_lists_the_gateway_s_keys(gateway):
    """deploy.md lists the keys that the webhook's secret needs, and the keys that the scheduled repair needs."""
    fields = GATEWAYS[gateway].fields
    problems = []
    for heading, keys in (
        ("## 3. The secrets", [field.env for field in fields if field.signs_callbacks]),
        ("## The scheduled repair", keys_of_the_query(gateway)),
    ):
        listed = section("docs/deploy.md", heading)
        missing = [key for key in keys if f'"{key}": "..."' not in listed]
        if missing:
            problems.append(f"add {', '.join(missing)} to the JSON in docs/deploy.md, {heading.lstrip('# ')}")
    report(problems)


def keys_of_the_query(gateway: str) -> list[str]:
    """Return the variables that a gateway's status query needs. If the query does not exist yet, say so instead."""
    if gateway not in QUERIES:
        return [f"each key that the status query of {gateway} needs"]
    return [field.env for field in GATEWAYS[gateway].fields if field.name in QUERIES[gateway].needs]


def reply_in_a_page(gateway: str, answer: Answer) -> str:
    """Return a reply as the runbook shows it."""
    reply = GATEWAYS[gateway].reply(answer)
    return f"{reply.status} `{reply.body}`"


def test_the_contributors_guide_names_every_place():
    """CONTRIBUTING.md names each file that a new gateway requires you to change."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    _, _, guide = text.partition("\n## Add a gateway\n")
    guide, _, _ = guide.partition("\n## ")
    places = (*TABLES, *TABLES_OF_VARIABLES, *METHODS, JSON_TABLE, READINGS)
    files = {place.split(" ")[0] for place in places} | {*FILES, *PAGES, *OTHERS, *(row[0] for row in ROWS)}
    short = {file.removeprefix("ticketbottle_payctl/").replace("{name}", "NAME") for file in files}
    missing = sorted(file for file in short if f"`{file}`" not in guide)
    need(not missing, f"name in CONTRIBUTING.md, Add a gateway: {', '.join(missing)}")
