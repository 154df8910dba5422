"""Test the options and the configuration file of `make deploy`, the programs it needs and the account it deploys to."""

from __future__ import annotations

import re
import subprocess

import pytest

CONFIG = "deploy/samconfig.toml"
BUCKET = ("--bucket", "shop-builds")
LISTS_RELEASES = (
    "to list the releases, run `aws lambda list-versions-by-function --function-name payctl-dev-webhook"
    " --region ap-southeast-1 --query 'Versions[].[LastModified,Description]' --output text`"
)


@pytest.fixture
def shop(checkout):
    """Return a checkout with real names, and a folder `bin` for programs."""
    checkout.name_real_resources()
    (checkout.folder / "bin").mkdir()
    return checkout


def program(checkout, name, script):
    """Write a shell script that takes the place of a program."""
    path = checkout.folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def run(checkout, *arguments, stdin=""):
    """Deploy with only the checkout's own programs."""
    return checkout.deploy(*arguments, environ={"PATH": str(checkout.folder / "bin")}, stdin=stdin)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "`sam` is not on the PATH: install the AWS SAM CLI, or set BUCKET= to deploy with the AWS CLI"),
        (BUCKET, "`aws` is not on the PATH: install version 2 of the AWS CLI"),
        ((*BUCKET, "--release", "a" * 64), "`aws` is not on the PATH: install version 2 of the AWS CLI"),
    ],
)
def test_a_missing_program_is_named_before_anything_is_done(shop, arguments, words):
    """If `sam` or `aws` is missing, `make deploy` exits with 3 and says what to install. There is no traceback."""
    done = run(shop, "dev", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    *before, last = done.stderr.splitlines()
    assert last.startswith(f"cannot deploy: {words}")
    assert all(line.startswith(("warning: s3_bucket is ", "warning: DatabaseCaFile is ")) for line in before)
    assert shop.deploy("dev", *arguments, "--print").returncode == 0


def test_production_prints_its_deployment_once(shop):
    """With `--print`, `make deploy` prints the deployment once, and says that a real run asks for confirmation."""
    done = shop.deploy("prod", *BUCKET, "--print")
    assert done.returncode == 0
    assert done.stdout.count("aws cloudformation deploy") == 1
    assert "--no-execute-changeset" not in done.stdout
    assert "# before this command, `make deploy` shows the changes and asks" in done.stdout
    unasked = shop.deploy("prod", *BUCKET, "--print", "--no-confirm-changeset")
    assert "shows the changes" not in unasked.stdout


@pytest.mark.parametrize("arguments", [(), ("--release", "a" * 64)])
def test_the_bucket_must_be_the_one_of_the_configuration(shop, arguments):
    """`make deploy` refuses a bucket other than `s3_bucket`, because rollbacks would not find the release there."""
    done = shop.deploy("dev", "--bucket", "other-builds", *arguments, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert "BUCKET is other-builds, but s3_bucket in deploy/samconfig.toml is shop-builds" in done.stderr
    shop.edit(CONFIG, 's3_bucket = "shop-builds"', "# none")
    assert shop.deploy("dev", "--bucket", "other-builds", *arguments, "--print").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--release", "a" * 64), "RELEASE needs BUCKET, because only the bucket contains earlier releases"),
        ((*BUCKET, "--release", "a" * 12), "RELEASE is 'aaaaaaaaaaaa', but must be 64 hexadecimal digits"),
        (
            (*BUCKET, "--release", "b" * 12),
            f"RELEASE is '{'b' * 12}', but must be 64 hexadecimal digits (0-9, a-f); {LISTS_RELEASES}",
        ),
        ((*BUCKET, "--release", "g" * 64), f"RELEASE is '{'g' * 64}', but must be 64 hexadecimal digits"),
        ((*BUCKET, "--release", "A" * 64), f"RELEASE is '{'A' * 64}', but must be 64 hexadecimal digits (0-9, a-f)"),
        ((*BUCKET, "--release", "0" * 64), f"RELEASE is '{'0' * 64}', which is not a release but the placeholder"),
        ((*BUCKET, "--release", ""), "RELEASE is '', but must be 64 hexadecimal digits"),
    ],
)
def test_the_error_about_a_release_says_what_is_wrong_with_it(shop, arguments, words):
    """If RELEASE cannot be deployed, `make deploy` says that BUCKET is missing or that RELEASE is not valid."""
    done = shop.deploy("dev", *arguments, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"cannot deploy: {words}")


BROKEN = [
    (lambda text: text.replace('"payctl-dev"', "payctl-dev"), "deploy/samconfig.toml is not TOML: Invalid value"),
    (
        lambda text: text.replace("[dev.global.parameters]", "[dev.other]"),
        "has no stack_name in [dev.global.parameters]",
    ),
    (
        lambda text: re.sub(r'(\[dev.global.parameters\]\nstack_name = "payctl-dev"\n)region.*\n', r"\1", text),
        "has no region in [dev.global.parameters]",
    ),
    (lambda text: text.replace("[dev.deploy.parameters]", "[dev.other]"), "has no parameter_overrides in [dev.deploy"),
    (
        lambda text: re.sub(
            r"(?s)parameter_overrides = \[.*?\n\]", 'parameter_overrides = "Environment=dev"', text, count=1
        ),
        "parameter_overrides in [dev.deploy.parameters] of deploy/samconfig.toml must be a list of strings",
    ),
    (lambda text: text.replace("stack_name = ", "stack_name = 1 #"), "stack_name in [dev.global.parameters] of"),
    (lambda text: re.sub(r"(?m)^tags = .*$", "tags = 5", text), "tags in [dev.deploy.parameters] of"),
    (lambda text: text.replace("[dev.global", "[dve.global"), "has no stack_name in [dev.global.parameters]"),
    (lambda text: "dev = 5\n" + re.sub(r"(?ms)^\[dev\..*?(?=^\[staging)", "", text), "has no section dev"),
]


@pytest.mark.parametrize(("change", "words"), BROKEN)
def test_a_wrong_configuration_file_is_named(shop, change, words):
    """`make deploy` names the file and the missing or wrong setting. There is no traceback."""
    path = shop.folder / CONFIG
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    done = shop.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert CONFIG in done.stderr


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("production", "deploy/samconfig.toml has no section production to deploy: it has dev, staging and prod"),
        ("default", "deploy/samconfig.toml has no section default to deploy: it has dev, staging and prod"),
    ],
)
@pytest.mark.parametrize("arguments", [(), (*BUCKET, "--release", "a" * 64)])
def test_an_unknown_section_is_named_with_those_that_exist(shop, environment, words, arguments):
    """`make deploy` refuses a section that it cannot deploy, and names the sections that it can deploy.

    The defaults of the SAM CLI cannot be deployed, even if they contain every setting.
    """
    path = shop.folder / CONFIG
    _, header, after = path.read_text("utf-8").partition("[dev.deploy.parameters]")
    whole = (header + after).partition("[staging.")[0].replace("[dev.", "[default.")
    path.write_text(path.read_text("utf-8") + whole, "utf-8")
    done = shop.deploy(environment, *arguments, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_configuration_file_is_named(shop, content):
    """`make deploy` names a configuration file that does not exist or is not text."""
    path = shop.folder / CONFIG
    path.unlink() if content is None else path.write_bytes(content)
    done = shop.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"cannot deploy: deploy/samconfig.toml (cannot be read|is not UTF-8)", done.stderr)


IDENTITY = 'echo "$*" >> calls; case "$*" in sts*) echo "{}";; esac; {}'


@pytest.mark.parametrize("arguments", [(), BUCKET])
def test_credentials_of_another_account_deploy_nothing(shop, arguments):
    """`make deploy` refuses to deploy if the credentials' account is not the account in the ARNs."""
    program(shop, "aws", IDENTITY.format("777788889999", ""))
    program(shop, "sam", 'echo "sam $*" >> calls')
    done = run(shop, "dev", *arguments)
    assert done.returncode == 2
    assert "your credentials are for account 777788889999, but the ARNs name account 444455556666" in done.stderr
    calls = (shop.folder / "calls").read_text("utf-8")
    assert (calls.count("\n"), "sts get-caller-identity" in calls) == (1, True)
    allowed = run(shop, "dev", *arguments, "--allow-mixed")
    assert allowed.returncode == 0
    assert "warning: your credentials are for account 777788889999" in allowed.stderr


def test_a_rollback_with_credentials_of_another_account_is_refused(shop):
    """`make deploy RELEASE=...` changes no stack of another account, unless the operator allows it."""
    program(shop, "aws", IDENTITY.format("777788889999", ""))
    earlier = (*BUCKET, "--release", "a" * 64)
    done = run(shop, "dev", *earlier)
    assert (done.returncode, done.stdout) == (2, "")
    sentence = "your credentials are for account 777788889999, but the ARNs name account 444455556666"
    assert done.stderr == f"cannot deploy: {sentence}; if this is what you want, add ARGS=--allow-mixed\n"
    assert (shop.folder / "calls").read_text("utf-8").count("\n") == 1
    allowed = run(shop, "dev", *earlier, "--allow-mixed")
    assert (allowed.returncode, allowed.stderr) == (0, f"warning: {sentence}\n")
    assert "cloudformation deploy" in (shop.folder / "calls").read_text("utf-8")


def test_a_rollback_to_a_release_that_is_not_in_the_bucket_is_refused(shop):
    """If the bucket does not contain RELEASE, `make deploy` names the command that lists the releases."""
    program(shop, "aws", IDENTITY.format("444455556666", 'test "$2" != ls'))
    done = run(shop, "dev", *BUCKET, "--release", "a" * 64)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"cannot deploy: the bucket shop-builds has no release {'a' * 64}; {LISTS_RELEASES}\n"
    *_, last = (shop.folder / "calls").read_text("utf-8").splitlines()
    assert last == f"s3 ls s3://shop-builds/{'a' * 64}/cloudformation.json --region ap-southeast-1"


def test_a_bucket_that_cannot_be_listed_does_not_stop_a_rollback(shop):
    """If the AWS CLI cannot list the bucket, `make deploy` still tries to fetch the release."""
    program(shop, "aws", IDENTITY.format("444455556666", 'test "$2" != ls || exit 254'))
    done = run(shop, "dev", *BUCKET, "--release", "a" * 64)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cloudformation deploy" in (shop.folder / "calls").read_text("utf-8")


@pytest.mark.parametrize(
    "script", [IDENTITY.format("444455556666", ""), 'test "$1" != sts', 'test "$1" = s3 || echo None']
)
def test_the_right_account_or_an_unknown_one_is_deployed(shop, script):
    """`make deploy` continues with the right account. If AWS does not answer, it continues with a warning."""
    program(shop, "aws", script)
    done = run(shop, "dev", *BUCKET)
    assert done.returncode == 0
    assert ("warning: the account of your credentials was not checked" in done.stderr) is ("444455556666" not in script)


@pytest.mark.parametrize(
    "identity", ["exit 253", "echo Unable to locate credentials. Configure them. >&2; exit 255"], ids=["v2", "v1"]
)
@pytest.mark.parametrize("arguments", [(), BUCKET, (*BUCKET, "--release", "a" * 64)])
def test_without_credentials_nothing_is_uploaded(shop, identity, arguments):
    """Without any credentials, `make deploy` exits with 3 before the upload and says how to get them."""
    program(shop, "aws", f'test "$1" = sts || echo "$1" >> calls; {identity}')
    program(shop, "sam", "echo sam >> calls")
    done = run(shop, "dev", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot deploy: the AWS CLI has no credentials: set AWS_PROFILE" in done.stderr
    assert not (shop.folder / "calls").exists()


def test_sam_s_profile_is_also_used_for_the_account(shop):
    """`make deploy` uses the SAM CLI's `profile` from the configuration when it asks AWS for the account."""
    shop.edit(CONFIG, 's3_prefix = "payctl-dev"', 's3_prefix = "payctl-dev"\nprofile = "payments"')
    program(shop, "aws", IDENTITY.format("444455556666", ""))
    program(shop, "sam", "exit 4")
    assert run(shop, "dev").returncode == 4
    assert "--profile payments" in (shop.folder / "calls").read_text("utf-8")


@pytest.mark.parametrize("option", ["ARCH=x86_64", "CA=bundle.pem", "SPANS=1"])
def test_make_deploy_refuses_the_options_of_the_build(root, option):
    """`make deploy ARCH=x86_64` says that the option belongs to `make package`, and deploys nothing."""
    command = ["make", "-C", str(root), "deploy", "ENV=dev", "ARGS=--print", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 2
    name = option.partition("=")[0]
    assert f"make deploy builds nothing, so give {name}= to make package" in done.stderr
