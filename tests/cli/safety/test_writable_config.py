"""Test that payctl refuses a configuration file that another user can write."""

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
    """Return a function that writes the configuration file and sets the modes of the file and its directory."""
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
    """Run a command that only reads. Return the exit code and the error."""
    document = answer("config", "show", "--config", file, *arguments, **environment)
    return document["exit_code"], document["error"] or {}


@pytest.mark.parametrize(("mode", "folder"), SAFE, ids=oct)
def test_a_configuration_file_that_only_its_owner_can_write_is_read(answer, config, mode, folder):
    """`payctl` reads a configuration file that only its owner can write or replace."""
    assert show(answer, config(mode, folder), "-p", "prod") == (0, {})


@pytest.mark.parametrize(("mode", "folder"), UNSAFE, ids=oct)
def test_a_configuration_file_that_others_can_write_is_refused_for_a_protected_profile(answer, config, mode, folder):
    """If other users can write the configuration file, payctl refuses only the file's protected profiles."""
    file = config(mode, folder)
    code, error = show(answer, file, "-p", "prod")
    assert (code, "protected profile prod" in error["message"]) == (3, True)
    assert show(answer, file, "-p", "dev") == (0, {})
    subprocess.run(shlex.split(error["hint"]), check=True)
    assert show(answer, file, "-p", "prod") == (0, {})


def test_a_writable_configuration_file_is_refused_for_a_protected_database(answer, config):
    """If other users can write the configuration file, payctl refuses every profile with a protected database."""
    url = "postgresql://u:p@localhost:1/shop"
    file = config(0o666)
    for arguments in ([], ["-p", "dev"]):
        assert show(answer, file, *arguments, DATABASE_URL=url)[0] == 3
    assert show(answer, config(0o600), DATABASE_URL=url)[0] == 0


def test_the_mode_of_a_linked_configuration_file_decides(answer, config, tmp_path):
    """If the configuration file is a link, payctl checks the mode of the linked file."""
    link = tmp_path / "link.toml"
    link.symlink_to(config(0o600))
    assert show(answer, str(link), "-p", "prod")[0] == 0
    config(0o606)
    assert show(answer, str(link), "-p", "prod")[0] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_configuration_file_of_another_user_is_refused(answer, config):
    """`payctl` refuses a configuration file that another user owns, because the owner can always write it."""
    file = config(0o600)
    os.chown(file, 12345, -1)
    code, error = show(answer, file, "-p", "prod")
    assert (code, "belongs to another user" in error["message"]) == (3, True)
