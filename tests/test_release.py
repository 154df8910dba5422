"""What a release contains: the sdist is complete, and the wheel built from it works where nothing else of payctl is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from ticketbottle_payctl import __version__

pytestmark = pytest.mark.xdist_group("release")

ROOT = Path(__file__).parents[1]
PACKAGES = ("ticketbottle_payctl", "lambda_entrypoints")


def run(*command, cwd, **environment):
    """Run a command without the variables that would lead it to this checkout; return what it printed."""
    bare = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environment}
    done = subprocess.run(command, cwd=cwd, env=bare, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist's unpacked directory."""
    place = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(place), cwd=ROOT)
    with tarfile.open(place / f"payctl-{__version__}.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place / f"payctl-{__version__}"


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel that is built from the unpacked sdist."""
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place), cwd=sdist)
    return place / f"payctl-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The programs' directory of a new environment with this wheel; its dependencies are those of the lock."""
    place = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", "environment", cwd=place)
    environment = place / "environment"
    options = ("--no-deps", "--no-index", "--disable-pip-version-check")
    python = str(environment / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, str(wheel), cwd=place)
    own = sysconfig.get_path("purelib", vars={"base": str(environment)})
    # A directory that a .pth file names comes last, and its own .pth files do not count: not even an editable payctl.
    Path(own, "locked.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return environment / "bin"


def files_of(place):
    """The files of both packages below a directory, without what Python leaves there."""
    found = [file for package in PACKAGES for file in (place / package).rglob("*") if file.is_file()]
    return {file.relative_to(place).as_posix() for file in found if "__pycache__" not in file.parts}


def test_the_sdist_misses_no_file(sdist):
    """Both packages are whole, and what a person or a builder needs is beside them."""
    assert files_of(sdist) == files_of(ROOT)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "locks/cli.txt", "tests"):
        assert (sdist / name).exists(), name


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    """The wheel is built from the sdist. Servers for tests and benchmarks are not in it."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == files_of(ROOT)


def test_the_installed_wheel_is_what_runs(installed):
    """The environment takes payctl from the wheel and not from this checkout."""
    code = (
        "import ticketbottle_payctl, lambda_entrypoints.webhook as it; print(ticketbottle_payctl.__file__, it.__file__)"
    )
    for file in run(str(installed / "python"), "-c", code, cwd=installed).split():
        assert Path(file).is_relative_to(installed.parent)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--version"], f"payctl {__version__}"),
        (["version"], __version__),
        (["verify-signature", "--example", "zalopay"], "valid"),
    ],
    ids=["--version", "version", "verify-signature"],
)
def test_an_installed_command_works(arguments, words, installed):
    """The program in the environment's bin directory runs, and says what it should."""
    assert words in run(str(installed / "payctl"), *arguments, cwd=installed)
