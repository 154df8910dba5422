"""Test that the Lambda zips build for both architectures and start on this machine without other packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import certifi
import grimp
import pytest
from packaging.utils import canonicalize_name

from deploy.package import BUDGETS, CA_FILE, CODE, LAYER, RUNTIME, build
from deploy.sbom import LICENCES
from deploy.sources import RECORD
from ticketbottle_payctl.metrics import Function

pytestmark = pytest.mark.timeout(300)
"""The time limit, in seconds. The limit is long, because the first test builds both zips for both architectures."""

UNWANTED = (
    *("typer", "rich", "pygments", "click", "awslambdaric", "boto3", "botocore", "pip", "pytest", "hypothesis"),
)
ASKING = ("payos", "pydantic", "pydantic_core", "httpx")
"""Libraries that a function loads only to query a gateway. Importing a handler loads none of them."""

PERMITTED = {
    *("MIT", "MIT License", "Apache-2.0", "Apache Software License", "PSF-2.0", "BSD-3-Clause", "MPL-2.0"),
    "GNU Library or Lesser General Public License (LGPL)",
}
"""The licences of the packages in the layer. Any new licence requires a decision.

psycopg2's licence permits programs with any licence to link to it. certifi's licence (MPL-2.0) requires the source only
of changed files, and payctl does not change any.
"""

MACHINES = {"x86_64": 62, "arm64": 183}
"""The value of ``e_machine`` in an ELF header, for each architecture."""

FIRST_CALLS = """
import importlib, json, sys
sys.path += sys.argv[1:]
for name in json.loads(sys.stdin.read()):
    assert callable(importlib.import_module(f"lambda_entrypoints.{name}").handler)
import confluent_kafka, psycopg2, sqlalchemy.dialects.postgresql.psycopg2
import ticketbottle_payctl.broker.producer
from lambda_entrypoints.webhook import handler
reply = handler({}, None)
stale = [name for name, module in sys.modules.items()
         if getattr(module, "__file__", None) and module.__file__.startswith(tuple(sys.argv[1:]))
         and module.__file__.endswith(".py") and not module.__cached__]
found = {name.split(".")[0] for name in sys.modules}
print("RESULT" + json.dumps([reply["statusCode"], stale, sorted(found), importlib.util.MAGIC_NUMBER.hex()]))
"""

ASK = """
import sys
sys.path += sys.argv[1:]
import ticketbottle_payctl.http_client, ticketbottle_payctl.payos_sdk
print(*{"payos", "pydantic", "pydantic_core", "httpx"} & sys.modules.keys())
"""


def interpreter():
    """Return the path of a CPython from PATH or pyenv that has the Lambda runtime's version, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*sorted(map(str, pyenv.glob(f"{RUNTIME}.*/bin/python"))), shutil.which(f"python{RUNTIME}")]
    for candidate in filter(None, candidates):
        probe = [candidate, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
        if subprocess.run(probe, capture_output=True, text=True, check=False).stdout.strip() == RUNTIME:
            return candidate
    return None


@pytest.fixture(scope="session")
def python():
    """Return the path of a Python interpreter with the Lambda runtime's version."""
    found = interpreter()
    if found is not None:
        return found
    reason = f"CPython {RUNTIME}, which the functions run on, is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    return pytest.skip(reason)


@pytest.fixture(scope="session")
def built(python, root, tmp_path_factory):
    """Return the two zips for each architecture. Each architecture has its own build directory."""
    ca = Path(certifi.where())
    source = tmp_path_factory.mktemp("source")  # a copy, which cannot change between the two builds
    for package in ("ticketbottle_payctl", "lambda_entrypoints"):
        shutil.copytree(root / package, source / package)
    found = {}
    for arch in MACHINES:
        made = build(tmp_path_factory.mktemp(arch), interpreter=python, arch=arch, ca=ca, source=source)
        found[arch] = {artifact.path.name: artifact for artifact in made}
    return found


@pytest.fixture(scope="session")
def contents(built):
    """Map each (architecture, zip name) to the zip's contents: file name to bytes, in the order of the entries."""
    found = {}
    for arch, artifacts in built.items():
        for name, made in artifacts.items():
            with zipfile.ZipFile(made.path) as archive:
                found[arch, name] = {entry: archive.read(entry) for entry in archive.namelist()}
    return found


def test_every_handler_starts_from_the_zips(built, python, tmp_path):
    """With only the unpacked zips on the path, each Lambda handler can be imported and replies to a request."""
    places = {LAYER: tmp_path / "opt", CODE: tmp_path / "task"}
    for name, place in places.items():
        with zipfile.ZipFile(built["x86_64"][name].path) as archive:
            archive.extractall(place)
    command = [python, "-I", "-S", "-B", "-c", FIRST_CALLS, str(places[CODE]), str(places[LAYER] / "python")]
    names = json.dumps([function.value for function in Function])
    result = subprocess.run(command, input=names, capture_output=True, text=True, check=False, cwd=tmp_path, env={})
    assert result.returncode == 0, result.stderr
    status, stale, loaded, magic = json.loads(result.stdout.partition("RESULT")[2])
    assert status == 400
    assert stale == []
    assert {*UNWANTED, *ASKING}.isdisjoint(loaded)
    asked = [*command[:5], ASK, *command[6:]]
    result = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=tmp_path, env={})
    assert (result.returncode, set(result.stdout.split())) == (0, set(ASKING)), result.stderr
    compiled = sorted((tmp_path / "task").rglob("*.pyc"))
    assert {path.read_bytes()[:8] for path in compiled} == {bytes.fromhex(magic) + b"\1\0\0\0"}


def test_every_module_in_the_zips_has_its_bytecode(contents):
    """The zips contain bytecode for every module, so Python compiles nothing during a cold start."""
    for entries in contents.values():
        modules = {name for name in entries if name.endswith(".py")}
        bytecode = [name.replace("__pycache__/", "") for name in entries if name.endswith(".pyc")]
        compiled = {name.replace(".cpython-313.pyc", ".py") for name in bytecode}
        assert modules == compiled


def test_two_builds_of_the_same_sources_have_the_same_bytes(built, contents):
    """For both architectures, the code zip and every Python module in the dependency zip have the same bytes."""
    arm, other = built["arm64"], built["x86_64"]
    assert arm[CODE].sha256 == other[CODE].sha256
    ours, theirs = contents["arm64", LAYER], contents["x86_64", LAYER]
    shared = [name for name in ours if name in theirs and name.endswith((".py", ".pyc"))]
    assert len(shared) > 500
    assert [name for name in shared if ours[name] != theirs[name]] == []


def test_a_build_records_its_sources_and_its_options(built, contents):
    """`make package` records the hash of each packed module, the lock file and the certificates, and its options."""
    for arch, options in (("arm64", []), ("x86_64", ["ARCH=x86_64"])):
        made = json.loads((built[arch][CODE].path.parent / RECORD).read_text("utf-8"))
        assert made["options"] == [*options, f"CA={certifi.where()}"]
        packed = {name for name in contents[arch, CODE] if name.endswith(".py")}
        assert made["sources"].keys() == packed | {"locks/layer.txt", certifi.where()}


def test_names_in_the_zips_are_sorted_and_times_are_fixed(built):
    """A zip's bytes do not depend on the time, the machine or the user that built it."""
    for artifacts in built.values():
        for made in artifacts.values():
            with zipfile.ZipFile(made.path) as archive:
                entries = archive.infolist()
            names = [Path(entry.filename) for entry in entries]
            assert names == sorted(names)
            assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
            assert {entry.external_attr for entry in entries} == {0o100644 << 16}


@pytest.mark.parametrize("arch", MACHINES)
def test_the_libraries_in_the_zips_match_the_architecture(contents, arch):
    """Every shared library in a zip is for the zip's architecture, regardless of the machine that built the zip."""
    libraries = {name: content for name, content in contents[arch, LAYER].items() if content[:4] == b"\x7fELF"}
    assert any("librdkafka" in name for name in libraries)
    assert any("libpq" in name for name in libraries)
    assert {int.from_bytes(content[18:20], "little") for content in libraries.values()} == {MACHINES[arch]}


def test_the_code_zip_has_the_modules_that_the_functions_load_and_no_others(contents):
    """The code zip contains exactly the modules of payctl that an entrypoint imports, according to the import graph."""
    graph = grimp.build_graph("ticketbottle_payctl", "lambda_entrypoints")
    loaded, found = set(), {name for name in graph.modules if name.startswith("lambda_entrypoints")}
    while found:
        loaded |= found
        packages = {name.rpartition(".")[0] for name in found} - {""}
        found = packages.union(*(graph.find_modules_directly_imported_by(name) for name in found)) - loaded
    for arch in MACHINES:
        sources = {entry.removesuffix(".py") for entry in contents[arch, CODE] if entry.endswith(".py")}
        assert {source.removesuffix("/__init__").replace("/", ".") for source in sources} == loaded


def test_the_zips_hold_only_what_a_function_needs(contents):
    """The zips do not contain command-line code, the sandbox, tests, or any part of Lambda's runtime."""
    for (_, name), entries in contents.items():
        folders = {part for entry in entries for part in entry.split("/")[:-1]}
        assert {"cli", "sandbox", "tests", "test", "testing", "schemas"}.isdisjoint(folders), name
        tops = {entry.removeprefix("python/").split("/")[0].split("-")[0].lower() for entry in entries}
        assert set(UNWANTED).isdisjoint(tops), name
    assert CA_FILE in contents["arm64", LAYER]
    assert all(entry.startswith("python/") for entry in contents["arm64", LAYER] if entry != CA_FILE)


def test_the_sbom_of_the_layer_is_what_its_lock_names(built, make_sbom, root, tmp_path):
    """The layer's SBOM lists the unpacked packages, each with its locked version and a permitted licence."""
    make_sbom("--folder", str(built["arm64"][LAYER].path.parent / "layer" / "python"), "--target", str(tmp_path))
    listed = [line.split("\t") for line in (tmp_path / LICENCES).read_text("utf-8").splitlines()]
    pins = re.findall(r"^([a-z0-9._-]+)==(\S+)", (root / "locks" / "layer.txt").read_text("utf-8"), re.MULTILINE)
    found = {(canonicalize_name(name), version) for name, version, _ in listed}
    assert found == set(pins)
    assert {licence for _, _, licence in listed} <= PERMITTED


def test_the_zips_are_within_the_size_budget(built):
    """The Lambda zips stay within the project's size budget, which is much smaller than Lambda's limit."""
    for artifacts in built.values():
        for name, made in artifacts.items():
            assert made.zipped <= BUDGETS[name][0]
            assert made.unzipped <= BUDGETS[name][1]
            assert made.zipped == made.path.stat().st_size
    assert sum(zipped for zipped, _ in BUDGETS.values()) < 50_000_000
    assert sum(unzipped for _, unzipped in BUDGETS.values()) < 250_000_000
