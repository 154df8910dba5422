"""Deploy a build with the template and one environment's parameters from ``deploy/samconfig.toml``.

    python -m deploy.release dev                                    with the SAM CLI
    python -m deploy.release dev --bucket BUCKET                    with the AWS CLI, without SAM
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
from collections.abc import Mapping
from pathlib import Path

from deploy.agreement import disagreements, doubts, mismatches
from deploy.commands import (
    PACKAGE,
    PARAMETERS,
    PREVIEW,
    Command,
    as_file,
    located,
    shown,
    stored,
    with_cloudformation,
    with_sam,
)
from deploy.configuration import Config, is_example, overrides, section_named, sections
from deploy.generate import GENERATED, NO_RELEASE, TEMPLATE, cloudformation
from deploy.mixed import account, mixed, mixed_settings, same_stack, shared
from deploy.neighbours import no_bucket, overlapping_names, shared_bucket
from deploy.package import CODE, LAYER, ROOT, Build
from deploy.parameters import Parameters, Read, read_parameters
from deploy.programs import NotReadyError, account_in_use, is_missing, require
from deploy.refusal import ALLOWS_MIXED, NOT_CONFIRMED, NOT_READY, REFUSED, NotDeployableError, refuse, warn
from deploy.sources import not_compared, outdated

CONFIG = ROOT / "deploy" / "samconfig.toml"

_CHANGE_SET = re.compile(r"arn:\S+:changeSet/\S+")
_CHANGES = "Changes[].ResourceChange.[Action,LogicalResourceId,ResourceType,Replacement]"


def release_of(build: Build, template: str, parameters: Mapping[str, str]) -> str:
    """Return a hash of the build, the template and the parameters, as 64 hexadecimal digits."""
    parts = {"build": build, "template": template, "parameters": parameters}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def main() -> int:
    """Deploy the build, or print the commands that would deploy it. Return the exit code of a failed command, or 0."""
    asked = _arguments()
    try:
        commands = _planned(asked)
    except NotDeployableError as error:
        lines = str(error).splitlines()
        sys.stderr.write("cannot deploy:" + (f" {lines[0]}" if len(lines) == 1 else "\n  ".join(["", *lines])) + "\n")
        return REFUSED
    except NotReadyError as error:
        sys.stderr.write(f"cannot deploy: {error}\n")
        return NOT_READY
    for command in commands:
        if asked.print and PREVIEW in command:
            sys.stdout.write("# before this command, `make deploy` shows the changes and asks\n")
            continue
        sys.stdout.write(shown(command) + "\n")
        sys.stdout.flush()
        if asked.print:
            continue
        code = _confirmed(command) if PREVIEW in command else _run(command)
        if code is not None:
            return code
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploy what `make package` has built.")
    parser.add_argument("environment", help="a section of deploy/samconfig.toml: dev, staging or prod")
    parser.add_argument("--bucket", help="deploy without SAM, and upload the build to this S3 bucket")
    parser.add_argument("--release", help="deploy this earlier release from the bucket instead of the build")
    parser.add_argument("--print", action="store_true", help="print the commands without running them")
    parser.add_argument(
        "--no-confirm-changeset", action="store_true", help="do not ask, even if samconfig.toml has confirm_changeset"
    )
    parser.add_argument(
        ALLOWS_MIXED,
        action="store_true",
        help="only warn about values and credentials of another environment, account or function",
    )
    parser.add_argument(
        "--config", type=Path, default=CONFIG.relative_to(ROOT), help="read this file instead of deploy/samconfig.toml"
    )
    return parser.parse_args()


def _planned(asked: argparse.Namespace) -> list[Command]:
    """Return the commands, and print the release. Write the files for a deployment without SAM."""
    known, confirm = sections(asked.config), not asked.no_confirm_changeset
    config = section_named(known, asked.environment, asked.config)
    _check_choices(asked, config)
    if asked.release is not None:
        # A rollback must not depend on values that it does not deploy.
        given, settings = _real(overrides(config)), mixed_settings(known, asked.environment)
        refuse(same_stack(known, asked.environment), settings, allowed=asked.allow_mixed)
        warn(f"{each}; the earlier release has its own value" for each in mixed(known, asked.environment, given))
        commands = stored(config, asked.release, asked.bucket, confirm=confirm)
        _check_machine(asked, config, commands, given)
        if not asked.print and is_missing(config, asked.release, asked.bucket):
            message = f"the bucket {asked.bucket} has no release {asked.release}; {_list_releases(config)}"
            raise NotDeployableError(message)
        return commands
    template = TEMPLATE.read_text("utf-8")
    read = read_parameters(template, config["deploy"]["parameters"]["parameter_overrides"])
    parameters = _checked(read, known, asked)
    build = Build.in_folder(PACKAGE)
    release = release_of(build, template, parameters)
    if asked.bucket is None:
        commands = with_sam(asked.config, asked.environment, parameters, release, confirm=confirm)
    else:
        commands = with_cloudformation(config, parameters, release, asked.bucket, confirm=confirm)
    _check_machine(asked, config, commands, parameters)
    sys.stdout.write(f"# release {release}\n")
    if asked.bucket is not None:
        (PACKAGE / GENERATED.name).write_text(cloudformation(template, release, build), "utf-8")
        (PACKAGE / PARAMETERS).write_text(as_file(located(parameters, release, asked.bucket)), "utf-8")
    return commands


def _check_choices(asked: argparse.Namespace, config: Config) -> None:
    """Raise an error if the bucket is not the configuration's bucket, or if RELEASE is not an earlier release."""
    bucket = config["deploy"]["parameters"].get("s3_bucket", "")
    if asked.bucket is not None and bucket and not is_example(bucket) and asked.bucket != bucket:
        message = f"BUCKET is {asked.bucket}, but s3_bucket in {asked.config} is {bucket}: both must be the same"
        raise NotDeployableError(message)
    if asked.release is None:
        return
    if asked.bucket is None:
        message = "RELEASE needs BUCKET, because only the bucket contains earlier releases"
        raise NotDeployableError(message)
    if asked.release == NO_RELEASE:
        message = f"RELEASE is {asked.release!r}, which is not a release but the placeholder in the committed template"
        raise NotDeployableError(message)
    if not re.fullmatch("[0-9a-f]{64}", asked.release):
        message = (
            f"RELEASE is {asked.release!r}, but must be 64 hexadecimal digits (0-9, a-f); {_list_releases(config)}"
        )
        raise NotDeployableError(message)


def _list_releases(config: Config) -> str:
    """Return a sentence with the command that lists the releases. The description of each version names its release."""
    settings = config["global"]["parameters"]
    function = ["--function-name", f"{settings['stack_name']}-webhook", "--region", settings["region"]]
    query = ["--query", "Versions[].[LastModified,Description]", "--output", "text"]
    return f"to list the releases, run `{shown(['aws', 'lambda', 'list-versions-by-function', *function, *query])}`"


def _check_machine(asked: argparse.Namespace, config: Config, commands: list[Command], values: Parameters) -> None:
    """Raise an error if a program is missing, or if the credentials are for another account than the ARNs.

    This also applies to an earlier release, which would otherwise replace the stack of another account.
    """
    if asked.print:
        return
    require(commands)
    wanted, used = account(values), account_in_use(config, sam=asked.bucket is None)
    if used is None:
        warn(["the account of your credentials was not checked, because `aws sts get-caller-identity` gave no answer"])
    elif wanted not in {None, used}:
        sentence = f"your credentials are for account {used}, but the ARNs name account {wanted}"
        refuse([], [sentence], allowed=asked.allow_mixed)


def _checked(read: Read, known: Mapping[str, Config], asked: argparse.Namespace) -> Parameters:
    """Return the parameters, or raise an error that lists all problems with them and with the build."""
    config = known[asked.environment]
    region = config["global"]["parameters"]["region"]
    wrong = [*read.wrong, *disagreements(read.sound, asked.environment, region), *same_stack(known, asked.environment)]
    missing = next((name for name in (CODE, LAYER) if not (PACKAGE / name).exists()), None)
    if missing:
        wrong.append(f"build/package/{missing} does not exist: run `make package` first")
    else:
        wrong += mismatches(PACKAGE / LAYER, read.sound)
        wrong += [sentence for sentence in (outdated(PACKAGE, ROOT),) if sentence]
    examples = _examples(config, read.values, asked)
    if examples and not asked.print:
        wrong.append(examples)
    if asked.bucket is None:
        wrong += no_bucket(config, asked.environment)
    found = [*mixed_settings(known, asked.environment), *overlapping_names(known, asked.environment)]
    found += mixed(known, asked.environment, _real(read.sound))
    refuse(wrong, found, allowed=asked.allow_mixed)
    if examples:
        sys.stderr.write(f"before you deploy, {examples}\n")
    warn([*shared(_real(read.sound)), *shared_bucket(known, asked.environment), *not_compared(PACKAGE, ROOT)])
    warn(doubts(read.sound))
    return read.values


def _examples(config: Config, parameters: Mapping[str, str], asked: argparse.Namespace) -> str | None:
    """Return a sentence that lists the parameters whose values are still examples, or None."""
    named = dict(parameters)
    if asked.bucket is None:
        named["s3_bucket"] = config["deploy"]["parameters"].get("s3_bucket", "")
    examples = [name for name, value in named.items() if is_example(value)]
    return f"replace the examples in {asked.config}: {', '.join(examples)}" if examples else None


def _real(values: Mapping[str, str]) -> Parameters:
    """Return the values that are no longer examples."""
    return {name: value for name, value in values.items() if not is_example(value)}


def _run(command: Command) -> int | None:
    """Run a command. Return its exit code, or None if the command succeeded."""
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
    return NOT_CONFIRMED


if __name__ == "__main__":
    sys.exit(main())
