"""A configuration file that another user may write does not decide what is protected, or where a command connects."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

PROFILES = """
[profiles.prod]
DATABASE_URL = "postgresql://u:p@127.0.0.1:1/shop"
guard.protected = true

[profiles.dev]
DATABASE_URL = "postgresql://u:p@127.0.0.1:1/other"
"""
SAFE = [(0o600, 0o700), (0o644, 0o755), (0o400, 0o755), (0o600, 0o1777)]
UNSAFE = [(0o620, 0o700), (0o602, 0o700), (0o666, 0o755), (0o664, 0o755), (0o600, 0o777), (0o644, 0o775)]


@pytest.fixture
def config(tmp_path):
    """Write the file with these modes of itself and its directory."""
    folder = tmp_path / "a b"
    folder.mkdir()
    file = folder / "config.toml"

    def write(mode, folder_mode=0o700):
        file.write_text(PROFILES, "utf-8")
        file.chmod(mode)
        folder.chmod(folder_mode)
        return str(file)

    yield write
    folder.chmod(0o700)


def show(answer, file, *arguments, **environment):
    """The exit code and the error of a command that only reads."""
    document = answer("config", "show", "--config", file, *arguments, **environment)
    return document["exit_code"], document["error"] or {}


@pytest.mark.parametrize(("mode", "folder"), SAFE, ids=oct)
def test_a_file_that_only_its_owner_writes_is_read(answer, config, mode, folder):
    """Others may read it, and its directory may be one like /tmp, where nobody replaces another user's file."""
    assert show(answer, config(mode, folder), "-p", "prod") == (0, {})


@pytest.mark.parametrize(("mode", "folder"), UNSAFE, ids=oct)
def test_a_file_that_others_may_write_is_refused_for_a_protected_profile(answer, config, mode, folder):
    """Exit 3 with the command that repairs it, which works when it is pasted. Other profiles are read."""
    file = config(mode, folder)
    code, error = show(answer, file, "-p", "prod")
    assert (code, "protected profile prod" in error["message"]) == (3, True)
    assert show(answer, file, "-p", "dev") == (0, {})
    subprocess.run(shlex.split(error["hint"]), check=True)
    assert show(answer, file, "-p", "prod") == (0, {})


def test_it_is_refused_also_if_only_the_database_is_the_protected_one(answer, config):
    """The guard follows the database, whatever -p says and without one."""
    url = "postgresql://u:p@localhost:1/shop"
    file = config(0o666)
    for arguments in ([], ["-p", "dev"]):
        assert show(answer, file, *arguments, DATABASE_URL=url)[0] == 3
    assert show(answer, config(0o600), DATABASE_URL=url)[0] == 0


def test_a_link_is_judged_by_the_file_that_it_leads_to(answer, config, tmp_path):
    """A link may lie anywhere; every link has the same mode."""
    link = tmp_path / "link.toml"
    link.symlink_to(config(0o600))
    assert show(answer, str(link), "-p", "prod")[0] == 0
    config(0o606)
    assert show(answer, str(link), "-p", "prod")[0] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(answer, config):
    """Its owner may always write it."""
    file = config(0o600)
    os.chown(file, 12345, -1)
    code, error = show(answer, file, "-p", "prod")
    assert (code, "belongs to another user" in error["message"]) == (3, True)
