"""The house keeps its own rules: layers, documents, locks."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ticketbottle_payctl.cli.app.registry import COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SKIPPED = {".git", ".kafka", "__pycache__", "build", "dist"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
PRIVATE_TYPER = re.compile(r"^\s*(?:from|import) typer(?:\.\w+)*\._|^\s*from typer import _", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.~])/(?:root|work|farm|Users/\w+|home/\w+)/")


def read(path: Path) -> str:
    """A file's text."""
    return path.read_text("utf-8")


def name_of(path: Path) -> str:
    """A file's name within the project."""
    return path.relative_to(ROOT).as_posix()


def text_files() -> list[Path]:
    """What belongs to the project and is text; generated environments and caches are not."""
    places = [path for path in ROOT.iterdir() if path.name not in SKIPPED and not path.name.startswith((".venv", "."))]
    places += [ROOT / ".ci", ROOT / ".github", ROOT / ".gitignore"]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    kept = [file for file in files if file.is_file() and not SKIPPED & set(file.parts)]
    return [file for file in kept if b"\0" not in file.read_bytes()]


def generated_pages() -> dict[str, str]:
    """What `make docs` would write now."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate.pages()


def wanted(use: str) -> list[Requirement]:
    """What pyproject.toml asks for by name in a lock: the package's own needs, its extras, the groups."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    extras = {"cli": ["cli"], "demo": ["demo", "cli"], "lambda": ["lambda"], "msk": ["msk"], "otel": ["otel"]}
    extras |= {"test": ["cli", "msk", "otel"], "dev": ["demo", "cli", "msk", "otel"], "layer": []}
    extras |= {"runtime": ["lambda", "aws", "otel"]}
    parts = {"moto": ["moto"], "emulator": ["emulator"]}
    parts |= {"test": ["test"], "dev": ["test", "check", "build"], "build": ["build"], "lock": ["lock"]}
    lines = list(project["dependencies"]) if use in extras else []
    for extra in extras.get(use, []):
        lines += project["optional-dependencies"][extra]
    for group in parts.get(use, []):
        lines += groups[group]
    return [one for one in map(Requirement, lines) if one.name != project["name"]]


def test_imports_keep_to_the_layers():
    """No module imports one above it, or a driver it must not know."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_one_file_imports_the_private_modules_of_typer():
    """A new version of Typer may move its private modules. Only one file has to follow."""
    files = [
        file for package in ("ticketbottle_payctl", "lambda_entrypoints") for file in (ROOT / package).rglob("*.py")
    ]
    found = [name_of(file) for file in files if PRIVATE_TYPER.search(read(file))]
    assert found == ["ticketbottle_payctl/cli/app/parser.py"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_what_the_project_asks_for(lock):
    """Every direct dependency of a use is in its lock, at a version within its bounds."""
    pins = dict(PIN.findall(read(lock)))
    for requirement in wanted(lock.stem):
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement.name} is missing: run `make lock`"
        assert requirement.specifier.contains(pinned, prereleases=True), f"{requirement} but {pinned}: run `make lock`"


def test_the_locks_agree():
    """A package has one version in all of them."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for package, version in PIN.findall(read(lock)):
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_pin_has_hashes_and_no_index(lock):
    """Nothing is installed that was not seen when it was locked, and no index is written down."""
    entries = re.split(r"^(?=[a-z0-9])", read(lock), flags=re.MULTILINE)[1:]
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in read(lock)
    assert "find-links" not in read(lock)


def test_the_doors_do_not_share_their_libraries():
    """The Lambda functions get no command line, and the command line no Lambda runtime."""
    lambda_pins = dict(PIN.findall(read(ROOT / "locks" / "lambda.txt")))
    cli_pins = dict(PIN.findall(read(ROOT / "locks" / "cli.txt")))
    assert {"typer", "rich", "click"} & lambda_pins.keys() == set()
    assert {"awslambdaric", "boto3", "botocore"} & cli_pins.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    """A relative link in a page names a file that is there."""
    targets = [target for target in LINK.findall(FENCE.sub("", read(page))) if "://" not in target]
    broken = [target for target in targets if not (page.parent / target.split("#")[0]).exists()]
    assert broken == []


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_says_what_would_reopen_it(page):
    """A choice without the condition of its end is a dogma."""
    assert re.search(r"^## Reopen\n\S", read(page), re.MULTILINE)


def test_every_decision_is_in_the_list():
    """The list of decisions misses none."""
    index = read(ROOT / "docs" / "decisions" / "README.md")
    assert [page.name for page in DECISIONS if f"({page.name})" not in index] == []


@pytest.mark.parametrize("name", ["cli.md", "errors.md"])
def test_generated_pages_are_current(name):
    """What `make docs` would write is what is there."""
    assert read(ROOT / "docs" / name) == generated_pages()[name], "run `make docs`"


def test_generated_schemas_are_current():
    """The JSON Schemas in the package are what `make docs` would write from the types of the facts."""
    command = [sys.executable, "docs/schemas.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("", 0), f"run `make docs` {result.stderr}"


def test_every_command_is_in_the_handwritten_documents():
    """A command that no person explains does not exist for a newcomer."""
    handwritten = "\n".join(read(page) for page in PAGES if page.name not in {"cli.md", "errors.md"})
    assert [entry.name for entry in COMMANDS if f"payctl {entry.name}" not in handwritten] == []


def test_quoted_code_is_in_the_code():
    """A line that the architecture page quotes stands in the package as it is quoted."""
    quotes = re.findall(r"^```python\n(.*?)\n```", read(ROOT / "docs" / "architecture.md"), re.DOTALL | re.MULTILINE)
    sources = "\n".join(read(file) for file in (ROOT / "ticketbottle_payctl").rglob("*.py"))
    assert quotes
    assert [quote for quote in quotes if quote not in sources] == []


def test_the_architecture_page_draws_every_package():
    """A package or module of the top level that is not drawn has no place yet."""
    page = read(ROOT / "docs" / "architecture.md")
    drawing = "".join(FENCE.findall(page))
    package = ROOT / "ticketbottle_payctl"
    names = {each.stem for each in package.iterdir() if not each.name.startswith(("__", "py.typed"))}
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", drawing)) == []


def test_every_file_that_the_architecture_page_names_is_there():
    """The table of places leads to files that exist."""
    page = read(ROOT / "docs" / "architecture.md")
    named = set(re.findall(r"`((?:cli|store|jobs|domain|providers|broker)/[a-z_/]+\.py)`", page))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / "ticketbottle_payctl" / name).is_file()] == []


def test_every_make_target_is_explained():
    """`make` alone lists every target that a person calls."""
    makefile = read(ROOT / "Makefile")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    assert [name for name in phony if not re.search(rf"^{name}:.*## \w", makefile, re.MULTILINE)] == []


def test_no_file_names_a_machine():
    """A path of one machine means nothing on another."""
    found = [name_of(file) for file in text_files() if MACHINE_PATH.search(read(file))]
    assert found == []
