"""Test the errors and hints about a configuration file that payctl cannot use."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from tests.cli.commands.test_config import FILE

NOBODY = 65534


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profiles.staging]\nx\ny = 1", "not valid TOML at line"),
        ("profiles = 3", "profiles in"),
        ("[profiles]\nstaging = 3", "profiles.staging in"),
        ('[profiles.staging]\ndatabase_url = "canary"', "profiles.staging.database_url"),
        ("[profiles.staging]\nDATABASE_URL = []", "profiles.staging.DATABASE_URL"),
        ("[profiles.staging]\ntz = 7", "profiles.staging.tz"),
        ('[profiles.staging]\ntz = "Mars/Phobos"', "profiles.staging.tz"),
        ("[profiles.staging.guard]\nmax_affected = 0", "profiles.staging.guard.max_affected"),
        ("[profiles.staging.guard]\nprotect = true", "profiles.staging.guard.protect"),
        ('[profiles.staging.guard]\nmax_affected = "9"', "profiles.staging.guard.max_affected"),
        ("[profiles.staging.guard]\nmax_affected = true", "profiles.staging.guard.max_affected"),
        ("\xff", "not valid TOML"),
    ],
)
def test_the_error_for_an_invalid_configuration_file_names_the_place(text, words, answer, tmp_path):
    """For an invalid configuration file, payctl exits with 3.

    The error names the file and key, but does not show the value.
    """
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode("latin-1"))
    document = answer("version", "--config", str(file), "-p", "staging")
    assert document["exit_code"] == 3
    assert words in document["error"]["message"]
    assert "canary" not in json.dumps(document)


@pytest.mark.parametrize("name", ["missing.toml", "", "/dev/zero"])
def test_an_unreadable_configuration_file_is_a_config_error(name, answer, tmp_path):
    """`payctl` exits with 3 if --config points to a missing file, a directory or an endless device."""
    assert answer("version", "--config", str(tmp_path / name), "-p", "staging")["exit_code"] == 3


def file_with(content):
    """Return a function that writes a configuration file."""
    return lambda path: path.write_text(content, "utf-8")


def locked(path):
    """Write a configuration file that its owner is not allowed to read."""
    path.write_text(FILE, "utf-8")
    path.chmod(0)
    os.chown(path, NOBODY, -1)


def foreign(path):
    """Write a configuration file that belongs to root and that other users are not allowed to read."""
    path.write_text(FILE, "utf-8")
    path.chmod(0o600)
    os.chown(path, 0, -1)


def in_a_locked_directory(path):
    """Write a configuration file into a directory for which its owner has no execute permission."""
    path.write_text(FILE, "utf-8")
    os.chown(path.parent, NOBODY, -1)
    path.parent.chmod(0)


OTHER = "or name another file with --config or PAYCTL_CONFIG"
# how to write the file, what the message says about it, and the hint
UNUSABLE = {
    "missing": (lambda _: None, "cannot be read: No such file or directory", f"create the file, {OTHER}"),
    "a directory": (lambda path: path.mkdir(), "is not a regular file", f"replace it with a file, {OTHER}"),
    "a link to itself": (
        lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links",
        f"replace it with a file, {OTHER}"),
    "not TOML": (
        file_with("[profiles.staging\n"), "is not valid TOML at line 1, column 18", f"correct it there, {OTHER}"),
    "not UTF-8": (
        lambda path: path.write_bytes(bytes([255])), "is not valid TOML", f"write it as TOML in UTF-8, {OTHER}"),
    "too large": (
        file_with("#" * 1_048_577), "is larger than 1 MiB, the limit for a configuration file",
        f"make the file smaller, {OTHER}"),
    "no table of profiles": (
        file_with("profiles = 3"), "profiles in {file} is not a table",
        f"write it as a table with the heading [profiles.NAME], {OTHER}"),
    "no table of a profile": (
        file_with("[profiles]\nstaging = 3"), "profiles.staging in {file} is not a table",
        f"write it as a table with the heading [profiles.staging], {OTHER}"),
}  # fmt: skip
LOCKED = {
    "without permission": (locked, f"let your user read it: `chmod u+r {{file}}`, {OTHER}"),
    "of another user": (foreign, f"ask its owner to let your user read it, {OTHER}"),
    "in a locked directory": (
        in_a_locked_directory, f"give your user the right to open its directory: `chmod u+x {{folder}}`, {OTHER}"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("command", ["path", "validate"])
def test_the_hint_about_an_unusable_file_says_what_helps(name, command, tmp_path, answer):
    """If the configuration file cannot be used, the error names the file and says what to do.

    The error does not suggest a payctl command.
    """
    write, message, hint = UNUSABLE[name]
    file = tmp_path / "config.toml"
    write(file)
    error = answer("config", command, "--config", str(file), "-p", "staging")["error"]
    assert (error["code"], error["hint"]) == ("CONFIG", hint)
    assert str(file) in error["message"]
    assert message.format(file=file) in error["message"]


@pytest.fixture
def folder():
    """Yield a directory that every user can enter. Only root can enter pytest's own directories."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        folder = Path(made, "payctl")
        folder.mkdir()
        yield folder


def as_nobody(run):
    """Run a function as an unprivileged user, because root can read all files. Return the function's result."""
    os.seteuid(NOBODY)
    try:
        return run()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", LOCKED)
@pytest.mark.parametrize("how", [["path"], ["path", "-p", "staging"], ["validate", "-p", "staging"]])
def test_the_hint_about_a_locked_file_names_the_missing_permission(name, how, folder, answer):
    """If the user is not allowed to read the configuration file, the hint says who must grant which permission."""
    file, (write, hint) = folder / "config.toml", LOCKED[name]
    write(file)
    error = as_nobody(lambda: answer("config", *how, PAYCTL_CONFIG=str(file)))["error"]
    assert error["message"] == f"the configuration file {file} cannot be read: Permission denied"
    assert error["hint"] == hint.format(file=file, folder=folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_config_path_names_the_file_even_if_it_may_not_be_read(folder, answer):
    """Without a profile, `config path` shows the path of an unreadable file, because it does not open the file."""
    locked(folder / "config.toml")
    document = as_nobody(lambda: answer("config", "path", XDG_CONFIG_HOME=str(folder.parent)))
    assert document["result"] == {"path": str(folder / "config.toml"), "exists": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_config_path_says_which_directory_may_not_be_searched(folder, answer):
    """If the user may not enter the file's directory, `config path` says so instead of reporting a bug."""
    in_a_locked_directory(folder / "config.toml")
    error = as_nobody(lambda: answer("config", "path", XDG_CONFIG_HOME=str(folder.parent)))["error"]
    assert error["code"] == "CONFIG"
    assert error["hint"] == LOCKED["in a locked directory"][1].format(folder=folder)
