"""Deploy a build with the template and one environment's parameters from ``deploy/samconfig.toml``.

    python -m deploy.release dev                                    with the SAM CLI
    python -m deploy.release dev --bucket BUCKET                    with the AWS CLI and plain CloudFormation
    python -m deploy.release dev --bucket BUCKET --release RELEASE  an earlier release that is in the bucket
    python -m deploy.release dev --print                            print the commands without running them

The ``live`` alias keeps its version of the webhook until another version is published. A new value of the ``Release``
parameter publishes a new version. This value is a hash of the code, the template and all parameters, so that every
change is deployed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from deploy.agreement import disagreements, mismatches
from deploy.commands import (
    PACKAGE,
    PARAMETERS,
    PREVIEW,
    Command,
    Config,
    as_file,
    located,
    shown,
    stored,
    with_cloudformation,
    with_sam,
)
from deploy.generate import GENERATED, TEMPLATE, cloudformation
from deploy.package import CODE, LAYER, ROOT, Build
from deploy.parameters import NotDeployableError, Parameters, Read, is_example, read_parameters

CONFIG = ROOT / "deploy" / "samconfig.toml"

_CHANGE_SET = re.compile(r"arn:\S+:changeSet/\S+")
_CHANGES = "Changes[].ResourceChange.[Action,LogicalResourceId,ResourceType,Replacement]"


def release_of(build: Build, template: str, parameters: Mapping[str, str]) -> str:
    """Return a hash of the build, the template and the parameters, as 64 hexadecimal digits."""
    parts = {"build": build, "template": template, "parameters": parameters}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def main() -> int:
    """Deploy the build, or print the commands that would deploy it. Return the exit code of a failed command, or 0."""
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploy what `make package` has built.")
    parser.add_argument("environment", help="a section of deploy/samconfig.toml: dev, staging or prod")
    parser.add_argument("--bucket", help="deploy with plain CloudFormation, and upload the build to this S3 bucket")
    parser.add_argument("--release", help="deploy this earlier release from the bucket instead of the build")
    parser.add_argument("--print", action="store_true", help="print the commands without running them")
    parser.add_argument(
        "--no-confirm-changeset", action="store_true", help="do not ask, even if samconfig.toml has confirm_changeset"
    )
    parser.add_argument(
        "--config", type=Path, default=CONFIG.relative_to(ROOT), help="read this file instead of deploy/samconfig.toml"
    )
    asked = parser.parse_args()
    try:
        commands = _planned(asked)
    except (NotDeployableError, FileNotFoundError, tomllib.TOMLDecodeError) as error:
        lines = str(error).splitlines()
        sys.stderr.write("cannot deploy:" + (f" {lines[0]}" if len(lines) == 1 else "\n  ".join(["", *lines])) + "\n")
        return 2
    for command in commands:
        sys.stdout.write(shown(command) + "\n")
        sys.stdout.flush()
        if asked.print:
            continue
        code = _confirmed(command) if PREVIEW in command else _run(command)
        if code is not None:
            return code
    return 0


def _planned(asked: argparse.Namespace) -> list[Command]:
    """Announce the release, write the files that plain CloudFormation needs, and return the commands."""
    known, confirm = tomllib.loads(asked.config.read_text("utf-8")), not asked.no_confirm_changeset
    if asked.environment not in known:
        message = f"{asked.config} has no section {asked.environment}"
        raise NotDeployableError(message)
    config = known[asked.environment]
    if asked.release is not None:
        if asked.bucket is None or not re.fullmatch("[0-9a-f]{64}", asked.release):
            message = "--release needs --bucket, and all 64 digits of a release"
            raise NotDeployableError(message)
        return stored(config, asked.release, asked.bucket, confirm=confirm)
    template = TEMPLATE.read_text("utf-8")
    read = read_parameters(template, config["deploy"]["parameters"]["parameter_overrides"])
    parameters = _checked(read, config, asked)
    build = Build.in_folder(PACKAGE)
    release = release_of(build, template, parameters)
    sys.stdout.write(f"# release {release}\n")
    if asked.bucket is None:
        return with_sam(asked.config, asked.environment, parameters, release, confirm=confirm)
    (PACKAGE / GENERATED.name).write_text(cloudformation(template, release, build), "utf-8")
    (PACKAGE / PARAMETERS).write_text(as_file(located(parameters, release, asked.bucket)), "utf-8")
    return with_cloudformation(config, parameters, release, asked.bucket, confirm=confirm)


def _checked(read: Read, config: Config, asked: argparse.Namespace) -> Parameters:
    """Return the parameters, or raise an error that lists everything that is wrong with them or with the build."""
    region = config.get("global", {}).get("parameters", {}).get("region")
    wrong = [*read.wrong, *disagreements(read.sound, asked.environment, region)]
    missing = next((name for name in (CODE, LAYER) if not (PACKAGE / name).exists()), None)
    if missing:
        wrong.append(f"build/package/{missing} does not exist: run `make package` first")
    else:
        wrong += mismatches(PACKAGE / LAYER, read.sound)
    examples = _examples(config, read.values, asked)
    if examples and not asked.print:
        wrong.append(examples)
    if wrong:
        raise NotDeployableError("\n".join(sorted(wrong)))
    if examples:
        sys.stderr.write(f"before you deploy, {examples}\n")
    return read.values


def _examples(config: Config, parameters: Mapping[str, str], asked: argparse.Namespace) -> str | None:
    """Return a sentence that lists the parameters whose values are still examples, or None."""
    named = dict(parameters)
    if asked.bucket is None:
        named["s3_bucket"] = config["deploy"]["parameters"].get("s3_bucket", "")
    examples = [name for name, value in named.items() if is_example(value)]
    return f"replace the examples in {asked.config}: {', '.join(examples)}" if examples else None


def _run(command: Command) -> int | None:
    """Run a command. Return its exit code if the deployment ends with it."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode or None  # noqa: S603


def _confirmed(command: Command) -> int | None:
    """Create a change set, show its changes, and ask for confirmation.

    If the deployment ends here, return the exit code, otherwise None.
    """
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    found = _CHANGE_SET.search(done.stdout)
    if done.returncode or found is None:
        return done.returncode
    region = command[command.index("--region") : command.index("--region") + 2]
    show = ["aws", "cloudformation", "describe-change-set", "--change-set-name", found[0], *region]
    if (code := _run([*show, "--query", _CHANGES, "--output", "table"])) is not None:
        return code
    sys.stdout.write(f"Deploy these changes to {command[command.index('--stack-name') + 1]}? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return None
    sys.stderr.write("nothing was deployed, because the changes were not confirmed\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
