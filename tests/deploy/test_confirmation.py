"""Test the confirmation prompt before a deployment to production, and the deployment of an earlier release."""

from __future__ import annotations

import json

import pytest

BUCKET = ("--bucket", "shop-builds")

AWS = """#!/bin/sh
echo "$1 $2 $*" | cut -c1-300 >> calls
case "$*" in
  sts*) echo 444455556666 ;;
  *--no-execute-changeset*) echo "$PREVIEW" ;;
esac
"""
CHANGE_SET = "arn:aws:cloudformation:ap-southeast-1:444455556666:changeSet/awscli-cloudformation-package-deploy1/0a"


@pytest.fixture
def production(checkout):
    """Return a checkout with real resource names and an `aws` command that records its calls in a file."""
    folder = checkout.folder / "bin"
    folder.mkdir()
    (folder / "aws").write_text(AWS)
    (folder / "aws").chmod(0o755)
    checkout.name_real_resources()

    def run(*arguments, preview=f"Changeset created successfully: {CHANGE_SET}", stdin=""):
        environ = {"PATH": f"{folder}:/usr/bin:/bin", "PREVIEW": preview}
        done = checkout.deploy("prod", *BUCKET, *arguments, environ=environ, stdin=stdin)
        calls = [line.split(" ")[1] for line in (checkout.folder / "calls").read_text("utf-8").splitlines()]
        return done, calls

    return run


UPLOADS = ["get-caller-identity", *["cp"] * 4]


@pytest.mark.parametrize(
    ("stdin", "code", "calls"),
    [
        ("y\n", 0, [*UPLOADS, "deploy", "describe-change-set", "deploy"]),
        ("n\n", 7, [*UPLOADS, "deploy", "describe-change-set"]),
        ("", 7, [*UPLOADS, "deploy", "describe-change-set"]),
    ],
)
def test_production_is_deployed_only_after_a_confirmation(production, stdin, code, calls):
    """With `confirm_changeset = true`, a deployment without SAM also shows the changes and asks for confirmation."""
    done, called = production(stdin=stdin)
    assert (done.returncode, called) == (code, calls)
    assert "Deploy these changes to payctl-prod? [y/N]" in done.stdout
    assert ("nothing was deployed" in done.stderr) is bool(code)


def test_a_deployment_without_changes_asks_nothing(production):
    """If nothing would change, the deployment ends without asking for confirmation."""
    done, called = production(preview="No changes to deploy. Stack payctl-prod is up to date")
    assert (done.returncode, called) == (0, [*UPLOADS, "deploy"])


def test_a_pipeline_deploys_production_without_a_question(production):
    """With `--no-confirm-changeset`, the deployment script asks no question and passes the option to SAM."""
    done, called = production("--no-confirm-changeset")
    assert (done.returncode, called) == (0, [*UPLOADS, "deploy"])


def test_the_sam_cli_asks_for_the_confirmation(checkout):
    """SAM reads `confirm_changeset` from the configuration, unless a pipeline disables the prompt."""
    assert "--no-confirm-changeset" not in checkout.planned("prod")[0]
    assert "--no-confirm-changeset" in checkout.planned("prod", "--no-confirm-changeset")[0]


def test_an_earlier_release_is_deployed_with_its_own_template_and_parameters(checkout):
    """`--release` deploys the template and the parameters that a deployment of that release has stored."""
    *_, deployed = checkout.planned("dev", *BUCKET)
    stored = json.loads((checkout.folder / "build" / "package" / "parameters.json").read_text("utf-8"))
    assert stored == deployed[deployed.index("--parameter-overrides") + 1 :]
    release = "a" * 64
    *downloads, again = checkout.planned("dev", *BUCKET, "--release", release)
    assert [command[3:5] for command in downloads] == [
        [f"s3://shop-builds/{release}/{name}", "build/release/"] for name in ("cloudformation.json", "parameters.json")
    ]
    assert again[again.index("--template-file") + 1] == "build/release/cloudformation.json"
    assert again[-2:] == ["--parameter-overrides", "file://build/release/parameters.json"]
    assert again[: again.index("--template-file")] == deployed[: deployed.index("--template-file")]
