"""Test that the sdist is complete, and that a wheel built from the sdist works without the checkout."""

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
    """Run a command without the environment variables that point to this checkout. Return the command's output."""
    bare = {"PATH": os.environ["PATH"], "HOME": str(cwd), **environment}
    done = subprocess.run(command, cwd=cwd, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Return the directory of the unpacked sdist."""
    place = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(place), cwd=ROOT)
    with tarfile.open(place / f"payctl-{__version__}.tar.gz") as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Debian 12's Python has no filters yet
        archive.extractall(place, **safely)  # noqa: S202 - our own archive
    return place / f"payctl-{__version__}"


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Return the wheel built from the unpacked sdist."""
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place), cwd=sdist)
    return place / f"payctl-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the bin directory of a new environment with this wheel and the locked dependencies."""
    place = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", "environment", cwd=place)
    environment = place / "environment"
    options = ("--no-deps", "--no-index", "--disable-pip-version-check")
    python = str(environment / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, str(wheel), cwd=place)
    own = sysconfig.get_path("purelib", vars={"base": str(environment)})
    # Python puts this directory last and ignores the .pth files in it, so an editable payctl has no effect.
    Path(own, "locked.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return environment / "bin"


def files_of(place):
    """Return the relative paths of the files of both packages in a directory, without bytecode."""
    found = [file for package in PACKAGES for file in (place / package).rglob("*") if file.is_file()]
    return {file.relative_to(place).as_posix() for file in found if "__pycache__" not in file.parts}


def test_the_sdist_is_complete(sdist):
    """The sdist contains all files from both packages and everything that a build needs."""
    assert files_of(sdist) == files_of(ROOT)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "locks/cli.txt", "tests"):
        assert (sdist / name).exists(), name


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    """The wheel contains the files of both packages but no servers for tests or benchmarks."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == files_of(ROOT)


def test_the_installed_environment_uses_the_wheel(installed):
    """Python imports payctl from the installed wheel, not from this checkout."""
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
    """The payctl program of the installed environment runs and prints the expected words."""
    assert words in run(str(installed / "payctl"), *arguments, cwd=installed)
