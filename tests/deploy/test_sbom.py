"""Test a release's SBOM and its list of licences. CycloneDX's own library validates the SBOM."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from deploy.sbom import LICENCES, SBOM, licence_lines, licence_of
from ticketbottle_payctl import __version__

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("sbom")]

VALIDATE = """
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
print(json.dumps([validator.validate_str(json.dumps(each)) is None for each in json.load(sys.stdin)]))
"""
METADATA = "Metadata-Version: 2.4\nName: {}\nVersion: {}\n{}\n"


@pytest.fixture(scope="module")
def valid(sbom_python):
    """Return a function that checks whether a given document is valid against CycloneDX 1.6."""

    def ask(*documents):
        command = [sbom_python, "-c", VALIDATE]
        done = subprocess.run(command, input=json.dumps(documents), text=True, check=True, capture_output=True)
        return json.loads(done.stdout)

    return ask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with three installed packages that declare their licences in different ways."""
    place = tmp_path_factory.mktemp("folder")
    for name, version, licence in (
        ("first", "1.0", "License-Expression: MIT OR Apache-2.0"),
        ("second", "2.0", "License: BSD-3-Clause"),
        ("tenacity", "3.0", "Summary: has no licence"),
    ):
        about = place / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(METADATA.format(name, version, licence), "utf-8")
    return place


@pytest.fixture(scope="module")
def own(make_sbom, tmp_path_factory):
    """Return the SBOM and the list of licences of this test's own environment."""
    target = tmp_path_factory.mktemp("own")
    make_sbom("--interpreter", sys.executable, "--target", str(target))
    return json.loads((target / SBOM).read_text("utf-8")), (target / LICENCES).read_text("utf-8").splitlines()


def test_an_sbom_lists_every_installed_package_with_its_version(own):
    """The SBOM lists exactly the installed packages and describes payctl."""
    document, _ = own
    installed = {canonicalize_name(each.name): each.version for each in distributions() if _is_here(each)}
    assert installed.pop("payctl") == __version__
    assert {canonicalize_name(each["name"]): each["version"] for each in document["components"]} == installed
    about = document["metadata"]["component"]
    assert (about["name"], about["version"]) == ("payctl", __version__)


def _is_here(distribution):
    return Path(str(distribution.locate_file(""))).is_relative_to(sys.prefix)


def test_an_sbom_is_valid_against_the_schema_of_cyclonedx(own, valid):
    """CycloneDX's validator accepts a component of each structure.

    The validator refuses a document in which a component has no name. One component of each structure is enough,
    because deploy/sbom.py validates every document that it writes.
    """
    document, _ = own
    assert document["specVersion"] == "1.6"
    each = [*{form(component): component for component in document["components"]}.values()]
    nameless = {name: value for name, value in each[0].items() if name != "name"}
    assert valid({**document, "components": each}, {**document, "components": [nameless]}) == [True, False]


def form(value):
    """Return the field names in a component and in its nested values, without the values."""
    if isinstance(value, dict):
        return frozenset((name, form(inner)) for name, inner in value.items())
    return frozenset(map(form, value)) if isinstance(value, list) else None


def test_an_sbom_names_what_payctl_needs_itself(own):
    """The SBOM lists the direct dependencies from pyproject.toml that are installed."""
    document, _ = own
    (needs,) = (each["dependsOn"] for each in document["dependencies"] if each["ref"] == "root-component")
    assert {"confluent-kafka", "psycopg2-binary", "SQLAlchemy", "tenacity"} <= {each.split("==")[0] for each in needs}


def test_the_list_of_licences_has_a_line_for_each_package(own):
    """The list of licences contains a line for each package, and is generated from the SBOM alone."""
    document, lines = own
    assert lines == licence_lines(document)
    assert len(lines) == len(document["components"]) > 20


def test_the_sbom_of_a_folder_lists_its_packages_and_licences(make_sbom, folder, tmp_path):
    """The SBOM lists a package without a licence as unknown. A second run writes identical bytes."""
    for name in ("a", "b"):
        make_sbom("--folder", str(folder), "--target", str(tmp_path / name))
    assert (tmp_path / "a" / LICENCES).read_text("utf-8").splitlines() == [
        "first\t1.0\tMIT OR Apache-2.0",
        "second\t2.0\tBSD-3-Clause",
        "tenacity\t3.0\tunknown",
    ]
    assert (tmp_path / "a" / SBOM).read_bytes() == (tmp_path / "b" / SBOM).read_bytes()


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ([{"expression": "MIT AND PSF-2.0"}], "MIT AND PSF-2.0"),
        ([{"license": {"id": "MIT"}}, {"license": {"name": "License :: OSI Approved :: MIT License"}}], "MIT"),
        ([{"license": {"name": "License :: OSI Approved :: Apache Software License"}}], "Apache Software License"),
        ([{"license": {"name": "A licence\nand its whole text"}}], "A licence"),
        ([{"license": {"id": "MIT"}}, {"license": {"id": "ISC"}}], "MIT AND ISC"),
        ([], "unknown"),
    ],
)
def test_a_licence_is_an_expression_else_an_identifier_else_a_name(declared, shown):
    """The licence list shows a package's licence expression.

    Without an expression, the list shows the identifier or, failing that, the name.
    """
    assert licence_of({"licenses": declared}) == shown
