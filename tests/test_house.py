"""Test the project's own rules for import layers, locks, documents and generated files."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs import log_events
from tests.mutants import page as mutants
from tests.mutants.rooms import ROOMS
from tests.soak import page as soak
from ticketbottle_payctl.cli.app.registry import COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = (
    *("commands.md", "environment.md", "errors.md", "functions.md", "log-events.md", "metrics.md", "schemas.md"),
)
INPUTS = (ROOT / "tests" / "fuzz" / "corpus", ROOT / "tests" / "fuzz" / "found")  # inputs with any bytes
SKIPPED = {".git", ".kafka", "__pycache__", "build", "dist"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
PRIVATE_TYPER = re.compile(r"^\s*(?:from|import) typer(?:\.\w+)*\._|^\s*from typer import _", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.~])/(?:root|work|farm|Users/\w+|home/\w+)/")


def read(path: Path) -> str:
    """Return a file's text."""
    return path.read_text("utf-8")


def name_of(path: Path) -> str:
    """Return a file's path relative to the project."""
    return path.relative_to(ROOT).as_posix()


def text_files() -> list[Path]:
    """Return the project's text files without generated environments or caches."""
    places = [path for path in ROOT.iterdir() if path.name not in SKIPPED and not path.name.startswith((".venv", "."))]
    places += [ROOT / ".ci", ROOT / ".github", ROOT / ".gitignore"]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    kept = [
        file for file in files if file.is_file() and not SKIPPED & set(file.parts) and file.parents[1] not in INPUTS
    ]
    return [file for file in kept if b"\0" not in file.read_bytes()]


@functools.cache
def generated_pages() -> dict[str, str]:
    """Return the pages that `make docs` would write now. The tests in this group share the cached result."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate.pages()


def wanted(use: str) -> list[Requirement]:
    """Return the requirements that a lock must contain, from the package, its extras and its dependency groups."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    extras = {"cli": ["cli"], "demo": ["demo", "cli"], "lambda": ["lambda"], "msk": ["msk"], "otel": ["otel"]}
    extras |= {"test": ["cli", "msk", "otel", "report"], "dev": ["demo", "cli", "msk", "otel", "report"], "layer": []}
    extras |= {"report": ["cli", "report"], "fuzz": ["cli"], "mutants": ["demo", "cli", "msk", "otel", "report"]}
    extras |= {"runtime": ["lambda", "aws", "otel"]}
    parts = {"moto": ["moto"], "emulator": ["emulator"]}
    parts |= {"test": ["test"], "build": ["build"], "lock": ["lock"], "docs": ["docs"]}
    parts |= {"dev": ["test", "check", "docs", "browser", "build"]}
    parts |= {"sbom": ["sbom"], "audit": ["audit"], "fuzz": ["fuzz"], "mutants": ["test", "mutants"]}
    lines = list(project["dependencies"]) if use in extras else []
    for extra in extras.get(use, []):
        lines += project["optional-dependencies"][extra]
    for group in parts.get(use, []):
        lines += groups[group]
    return [one for one in map(Requirement, lines) if one.name != project["name"]]


def test_imports_keep_to_the_layers():
    """No module imports a module from a higher layer, or a driver that its own layer must not use."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_one_file_imports_the_private_modules_of_typer():
    """Only cli/app/typer_internals.py imports Typer's private modules, so only this file depends on where they are."""
    files = [
        file for package in ("ticketbottle_payctl", "lambda_entrypoints") for file in (ROOT / package).rglob("*.py")
    ]
    found = [name_of(file) for file in files if PRIVATE_TYPER.search(read(file))]
    assert found == ["ticketbottle_payctl/cli/app/typer_internals.py"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_every_direct_dependency(lock):
    """Each lock contains its direct dependencies, in versions that pyproject.toml allows."""
    pins = dict(PIN.findall(read(lock)))
    for requirement in wanted(lock.stem):
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement.name} is missing: run `make lock`"
        assert requirement.specifier.contains(pinned, prereleases=True), f"{requirement} but {pinned}: run `make lock`"


def test_a_package_has_the_same_version_in_every_lock():
    """No package is locked in two versions."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for package, version in PIN.findall(read(lock)):
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_pin_has_hashes_and_no_index(lock):
    """Every pinned package has a hash, and no lock names a package index."""
    entries = re.split(r"^(?=[a-z0-9])", read(lock), flags=re.MULTILINE)[1:]
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in read(lock)
    assert "find-links" not in read(lock)


def test_lambda_and_command_line_have_separate_libraries():
    """The Lambda lock has no command-line library, and the command-line lock has no Lambda or AWS library."""
    lambda_pins = dict(PIN.findall(read(ROOT / "locks" / "lambda.txt")))
    cli_pins = dict(PIN.findall(read(ROOT / "locks" / "cli.txt")))
    assert {"typer", "rich", "click"} & lambda_pins.keys() == set()
    assert {"awslambdaric", "boto3", "botocore"} & cli_pins.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_of_a_page_are_not_broken(page):
    """Every relative link on a page leads to an existing file."""
    targets = [target for target in LINK.findall(FENCE.sub("", read(page))) if "://" not in target]
    broken = [target for target in targets if not (page.parent / target.split("#")[0]).exists()]
    assert broken == []


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_each_decision_has_a_section_reopen(page):
    """Each decision has a "Reopen" section, which says when to reconsider the decision."""
    assert re.search(r"^## Reopen\n\S", read(page), re.MULTILINE)


def test_every_decision_is_in_the_list():
    """The README of docs/decisions links to every decision."""
    index = read(ROOT / "docs" / "decisions" / "README.md")
    assert [page.name for page in DECISIONS if f"({page.name})" not in index] == []


@pytest.mark.xdist_group("generated")
@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_current(name):
    """The reference pages in docs match the output of `make docs`."""
    assert read(ROOT / "docs" / "reference" / name) == generated_pages()[name], "run `make docs`"


@pytest.mark.xdist_group("generated")
def test_each_generated_page_is_compared():
    """GENERATED in this test file lists every page that the generator writes."""
    assert set(GENERATED) == generated_pages().keys()


def test_a_log_event_without_a_meaning_stops_the_generator(monkeypatch):
    """The generator fails if docs/log_events.py does not describe one of the code's log events.

    The error names the event.
    """
    monkeypatch.delitem(log_events.MEANINGS, "webhook_settled")
    with pytest.raises(log_events.NotDescribedError, match=r"\['webhook_settled'\]"):
        log_events.events()


@pytest.mark.parametrize("page", ["security.md", "reliability.md"])
def test_every_line_of_a_page_about_proofs_names_its_tests(page):
    """Each table row of security.md and reliability.md ends with test files that exist and contain tests.

    The tables that `make soak` and `make mutants` write are not checked.
    """
    text = read(ROOT / "docs" / "explanation" / page)
    for written in (soak, mutants):
        text = re.sub(f"{written.BEGIN}.*{written.END}", "", text, flags=re.DOTALL)
    rows = re.findall(r"^\| (?!what |fault |---|\||I\d)(.+) \|$", text, re.MULTILINE)
    rows = [row.split(" | ") for row in rows]
    assert len(rows) > 20
    for *_, named in rows:
        files = [name for name in re.findall(r"`([^`]+)`", named) if not name.startswith("make ")]
        assert files, named
        assert [name for name in files if "\ndef test_" not in read(ROOT / "tests" / name)] == []


def test_the_soak_s_table_is_that_of_the_recorded_runs():
    """The soak table in docs/explanation/reliability.md equals what `make soak ARGS=--page` writes."""
    page, runs = read(ROOT / "docs" / "explanation" / "reliability.md"), json.loads(read(ROOT / "docs" / "soak.json"))
    assert soak.rewritten(page, runs) == page


def test_the_mutants_table_is_that_of_the_recorded_runs():
    """The mutants table in docs/explanation/reliability.md equals what `make mutants ARGS=--page` writes."""
    page, rooms = read(mutants.PAGE), json.loads(read(mutants.RUNS))
    assert mutants.rewritten(page, rooms) == page
    assert rooms.keys() == {room.name for room in ROOMS}


def test_generated_schemas_are_current():
    """The JSON Schemas in the package match the output of `make docs`."""
    command = [sys.executable, "docs/schemas.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("", 0), f"run `make docs` {result.stderr}"


def test_every_command_is_in_the_handwritten_documents():
    """Every command is mentioned on a handwritten page."""
    handwritten = "\n".join(read(page) for page in PAGES if page.name not in GENERATED)
    assert [entry.name for entry in COMMANDS if f"payctl {entry.name}" not in handwritten] == []


def test_code_on_the_architecture_page_is_in_the_package():
    """Each code block on the architecture page matches the package's code character for character."""
    quotes = re.findall(
        r"^```python\n(.*?)\n```", read(ROOT / "docs" / "explanation" / "architecture.md"), re.DOTALL | re.MULTILINE
    )
    sources = "\n".join(read(file) for file in (ROOT / "ticketbottle_payctl").rglob("*.py"))
    assert quotes
    assert [quote for quote in quotes if quote not in sources] == []


def test_the_architecture_page_draws_every_package():
    """The diagram on the architecture page contains every top-level package and module."""
    page = read(ROOT / "docs" / "explanation" / "architecture.md")
    drawing = "".join(FENCE.findall(page))
    package = ROOT / "ticketbottle_payctl"
    names = {each.stem for each in package.iterdir() if not each.name.startswith(("__", "py.typed"))}
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", drawing)) == []


def test_every_file_that_the_architecture_page_names_exists():
    """Every path that the architecture page names exists in the package."""
    page = read(ROOT / "docs" / "explanation" / "architecture.md")
    named = set(re.findall(r"`((?:cli|store|jobs|domain|providers|broker)/[a-z_/]+\.py)`", page))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / "ticketbottle_payctl" / name).is_file()] == []


def test_every_make_target_is_explained():
    """`make` without a target lists every target with a description."""
    makefile = read(ROOT / "Makefile")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    assert [name for name in phony if not re.search(rf"^{name}:.*## \w", makefile, re.MULTILINE)] == []


def test_no_file_contains_a_path_of_one_machine():
    """No text file contains an absolute path to a home or work directory."""
    found = [name_of(file) for file in text_files() if MACHINE_PATH.search(read(file))]
    assert found == []
