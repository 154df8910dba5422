"""Use SAM CLI's own classes to print each function's environment in a `sam local` container and after deployment.

Run this module with the Python interpreter for the template tools: ``python -m tests.deploy.sam_local ENV_FILE``. The
classes come from the runtime emulator's environment, which contains SAM CLI without its dependencies. The result is a
JSON object. The members "container" and "deployed" map each function to its variables. The member "routes" lists the
routes.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

from deploy.generate import GENERATED, TEMPLATE
from deploy.parameters import read_parameters
from deploy.release import CONFIG

sys.path.append(str(next(TEMPLATE.parents[1].glob(".venv-lambda/lib/python*/site-packages"))))
os.environ |= {"AWS_DEFAULT_REGION": "ap-southeast-1", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}

from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.cfn_language_extensions.api import process_template
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

REPAIR = {
    "ReconcilePayments": "true",
    **dict.fromkeys(
        ("ReconcileDatabaseSecretArn", "ReconcileGatewaySecretArn"),
        "arn:aws:secretsmanager:ap-southeast-1:111122223333:secret:example-AbCdEf",
    ),
}
"""The parameters that turn on the `reconcile-payments` function, which is off by default."""


def container(stacks, overrides):
    """Return the environment that SAM gives each function's container."""
    runner = LocalLambdaRunner(None, None, str(TEMPLATE.parent), str(TEMPLATE.parent), env_vars_values=overrides)
    functions = SamFunctionProvider(stacks, use_raw_codeuri=True).get_all()
    return {one.name: runner._make_env_vars(one).resolve() for one in functions}  # noqa: SLF001 - not public in SAM


def routes(stacks):
    """Return ``METHOD path`` for each route that `sam local start-api` serves."""
    api = ApiProvider(stacks, cwd=str(TEMPLATE.parent)).api
    return sorted(f"{method} {route.path}" for route in api.routes for method in route.methods)


def deployed():
    """Return each function's environment as CloudFormation gives it to Lambda in production, without references."""
    config = tomllib.loads(CONFIG.read_text("utf-8"))["prod"]["deploy"]["parameters"]["parameter_overrides"]
    values = {**read_parameters(TEMPLATE.read_text("utf-8"), config).values, **REPAIR}
    values |= {"CodeBucket": "b", "CodeKey": "c", "LayerKey": "l"}
    template = json.loads(GENERATED.read_text("utf-8"))
    resources = {name: one for name, one in template["Resources"].items() if one["Type"] == "AWS::Lambda::Function"}
    done = process_template({**template, "Resources": resources, "Outputs": {}}, values)
    return {name: one["Properties"]["Environment"]["Variables"] for name, one in done["Resources"].items()}


def main():
    """Print the environments and routes as JSON."""
    overrides = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    stacks, _ = SamLocalStackProvider.get_stacks(str(TEMPLATE))
    found = {"container": container(stacks, overrides), "deployed": deployed(), "routes": routes(stacks)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
