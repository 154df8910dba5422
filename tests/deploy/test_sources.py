"""Test that `make deploy` refuses a build that was made from other sources."""

from __future__ import annotations

import pytest

from deploy.sources import RECORD, record

HANDLER, LIBRARY = "lambda_entrypoints/webhook.py", "ticketbottle_payctl/domain/settlement.py"


def append(name):
    """Return a function that changes a file of the checkout."""

    def change(folder):
        path = folder / name
        path.write_text(path.read_text("utf-8") + "# changed\n", "utf-8")

    return change


def remove(name):
    """Return a function that deletes a file of the checkout."""
    return lambda folder: (folder / name).unlink()


def create(name):
    """Return a function that writes a new file into the checkout."""
    return lambda folder: (folder / name).write_text("import ticketbottle_payctl\n", "utf-8")


CHANGES = [
    ([append(HANDLER)], f"{HANDLER} changed"),
    ([append(LIBRARY)], f"{LIBRARY} changed"),
    ([append(HANDLER), append(LIBRARY)], f"{HANDLER} and {LIBRARY} changed"),
    ([create("lambda_entrypoints/refund.py")], "lambda_entrypoints/refund.py changed"),
    ([remove("lambda_entrypoints/probe.py")], "lambda_entrypoints/probe.py changed"),
    ([append("locks/otel.txt")], "locks/otel.txt changed"),
    ([append("deploy/package.py")], "deploy/package.py changed"),
    (
        [append(HANDLER), append(LIBRARY), append("deploy/package.py"), append("locks/otel.txt")],
        f"deploy/package.py, {HANDLER}, locks/otel.txt and 1 more file changed",
    ),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES)
def test_a_build_from_other_sources_is_not_deployed(whole_checkout, changes, words):
    """If a source has changed since the build, `make deploy` names the source and the command that builds again."""
    for change in changes:
        change(whole_checkout.folder)
    done = whole_checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"because {words}: run `make package SPANS=1` again" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        append("locks/layer.txt"),
        append("deploy/agreement.py"),
        create("ticketbottle_payctl/new.py"),
        create("lambda_entrypoints/notes.txt"),
        lambda folder: (folder / LIBRARY).touch(),
    ],
)
def test_a_file_that_is_not_in_the_build_may_change(whole_checkout, change):
    """`make deploy` accepts a build if only files changed that the build does not contain."""
    change(whole_checkout.folder)
    assert whole_checkout.deploy("dev", "--print").returncode == 0


@pytest.mark.parametrize("text", [None, "", "[]", '{"sources": {}}'])
def test_a_build_without_a_record_of_its_sources_is_not_deployed(whole_checkout, text):
    """`make deploy` refuses a build that was interrupted or that an earlier version made."""
    path = whole_checkout.folder / "build" / "package" / RECORD
    path.unlink() if text is None else path.write_text(text, "utf-8")
    done = whole_checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the build has no readable sources.json, which names its sources: run `make package`" in done.stderr


def test_an_earlier_release_does_not_depend_on_the_build(whole_checkout):
    """`make deploy RELEASE=...` deploys the zips in the bucket, so it does not look at the sources."""
    append(HANDLER)(whole_checkout.folder)
    assert whole_checkout.deploy("dev", "--bucket", "example-builds", "--release", "a" * 64, "--print").returncode == 0


@pytest.fixture(params=["inside", "outside", "link"])
def certificates(request, whole_checkout, tmp_path_factory):
    """Return a file with certificates after a build that contains them.

    The file is in the clone or outside, or it is a link.
    """
    elsewhere = tmp_path_factory.mktemp("certificates")
    ca = (elsewhere if request.param == "outside" else whole_checkout.folder) / "bundle.pem"
    if request.param == "link":
        ca.symlink_to(elsewhere / "bundle-2026.pem")
    ca.write_text("the certificates of 2026\n", "utf-8")
    text = record(whole_checkout.folder, whole_checkout.folder / "locks" / "otel.txt", [f"CA={ca}"], ca)
    (whole_checkout.folder / "build" / "package" / RECORD).write_text(text, "utf-8")
    return ca


def test_a_build_with_old_certificates_is_not_deployed(whole_checkout, certificates):
    """If the certificates were renewed since the build, `make deploy` names their file and repeats its option."""
    assert whole_checkout.deploy("dev", "--print").returncode == 0
    certificates.unlink()
    certificates.write_text("the certificates of 2027\n", "utf-8")
    done = whole_checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    inside = certificates.is_relative_to(whole_checkout.folder)
    name = "bundle.pem" if inside else certificates
    assert f"because {name} changed: run `make package CA={certificates}` again" in done.stderr


def test_certificates_that_are_gone_are_deployed_with_a_warning(whole_checkout, certificates):
    """`make deploy` accepts a build without the file of its certificates, because the build contains them."""
    certificates.unlink()
    done = whole_checkout.deploy("dev", "--print")
    assert done.returncode == 0, done.stderr
    name = "bundle.pem" if certificates.is_relative_to(whole_checkout.folder) else certificates
    assert f"warning: {name} does not exist, so it was not compared with the build's certificates" in done.stderr
