"""Test the file with certificates that `make package CA=...` adds to a build."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploy.package import CODE, CertificatesError, build


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.pem", None, "cannot read certificates from .*missing.pem: No such file or directory"),
        ("page.pem", "<html>Access Denied</html>", "cannot read certificates from .*page.pem: "),
        ("empty.pem", "", "cannot read certificates from .*empty.pem: "),
    ],
)
def test_a_file_without_certificates_leaves_the_previous_build(tmp_path, name, content, words):
    """If the file for `CA=` has no certificate, the build stops before it deletes the zips of the previous build."""
    target, ca = tmp_path / "package", tmp_path / name
    target.mkdir()
    (target / CODE).write_text("the previous build")
    if content is not None:
        ca.write_text(content)
    with pytest.raises(CertificatesError, match=words):
        build(target, interpreter="none", ca=ca)
    assert (target / CODE).read_text() == "the previous build"


def test_make_package_says_without_a_traceback_that_the_certificates_are_missing(root, tmp_path):
    """If the file with certificates is missing, `make package` prints one line on stderr and exits with 2."""
    choices = ["--interpreter", "none", "--target", str(tmp_path), "--ca", "no.pem"]
    command = [sys.executable, "-m", "deploy.package", *choices]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cannot build: cannot read certificates from no.pem: No such file or directory\n"
