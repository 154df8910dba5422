"""Create the policy for deployments. The policy allows only actions that CloudFormation needs for the template.

    python -m deploy.deployer            write deploy/deployer-policy.json
    python -m deploy.deployer --check    write nothing; exit 1 if something would change

The actions come from CloudFormation's own resource schemas, which are part of cfn-lint. If an action can be limited to
certain resources, the policy limits it to one stack's resources. The id of each statement begins with ``OneStack``,
``OneBucket`` or ``EveryStack``. The word says what the statement applies to. ``EveryStack`` means every stack of the
account.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

HERE = Path(__file__).resolve().parent
POLICY = HERE / "deployer-policy.json"

REGION = "ap-southeast-1"
"""The AWS region whose resource schemas are read. The policy itself does not contain this region."""

_HANDLERS = ("create", "read", "update", "delete")
_HERE = "arn:aws:{service}:REGION:ACCOUNT:"
_PLACES = {
    "lambda": [f"{_HERE}function:STACK-*", f"{_HERE}layer:STACK-*"],
    "sqs": [f"{_HERE}STACK-*"],
    "sns": [f"{_HERE}STACK-*"],
    "iam": ["arn:aws:iam::ACCOUNT:role/STACK-*", "arn:aws:iam::ACCOUNT:policy/STACK-*"],
    "scheduler": [f"{_HERE}schedule-group/STACK", f"{_HERE}schedule/STACK/*"],
    "codedeploy": [f"{_HERE}application:STACK-*", f"{_HERE}deploymentgroup:STACK-*", f"{_HERE}deploymentconfig:*"],
    "logs": [f"{_HERE}log-group:/payctl/STACK/*", f"{_HERE}log-group:/aws/vendedlogs/payctl/STACK/*"],
    "apigateway": ["arn:aws:apigateway:REGION::/*"],
    "s3": ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"],
}
_REACH = {"STACK": "OneStack", "BUCKET": "OneBucket"}
_ANYWHERE = {
    *("lambda:GetCodeSigningConfig", "logs:DescribeLogGroups", "logs:CreateLogDelivery", "logs:PutResourcePolicy"),
    "logs:DescribeResourcePolicies",
}
"""The actions that cannot be limited to the stack's resources, unlike other actions of the same service."""

_BY_HAND = {
    "cloudformation": (
        *("CreateChangeSet", "DeleteChangeSet", "DescribeChangeSet", "DescribeStackEvents", "DescribeStackResources"),
        *("DescribeStacks", "ExecuteChangeSet", "GetTemplate", "GetTemplateSummary", "ListStackResources"),
        *("TagResource", "UntagResource", "DeleteStack"),
    ),
    "s3": ("GetBucketLocation", "GetObject", "GetObjectVersion", "ListBucket", "PutObject"),
    "apigateway": ("TagResource", "UntagResource"),
    # CloudWatch Logs delivers the access log of an HTTP API.
    "logs": ("DeleteLogDelivery", "GetLogDelivery", "ListLogDeliveries", "UpdateLogDelivery"),
}
_NOT_NEEDED = (
    *("s3:REST", "s3files:", "firehose:", "elasticfilesystem:", "iam:AttachGroup", "iam:AttachUser", "iam:DetachGroup"),
    *("iam:DetachUser", "lambda:PassCapacityProvider", "lambda:PutFunctionScaling", "lambda:GetFunctionScaling"),
    *("lambda:AssociateRuntime", "lambda:PutFunctionRecursion", "application-autoscaling:PutScheduled"),
    *("application-autoscaling:DeleteScheduled", "logs:PutDataProtection", "logs:DeleteDataProtection"),
    *("logs:PutIndex", "logs:DeleteIndex", "logs:PutBearer", "logs:PutLogGroupDeletion", "sns:PutDataProtection"),
    *("codedeploy:RegisterOnPremises", "ec2:DescribeInstances"),
)
"""The prefixes of actions for features that the template's resources do not use."""


def needed(template: Mapping[str, Any]) -> set[str]:
    """Return all actions that CloudFormation can call to create, read, change or delete the template's resources."""
    found = {f"{service}:{name}" for service, names in _BY_HAND.items() for name in names}
    for kind in {resource["Type"] for resource in template["Resources"].values()}:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema["handlers"]
        found |= {action for name in _HANDLERS for action in handlers.get(name, {}).get("permissions", [])}
    return {action for action in found if not action.startswith(_NOT_NEEDED) and action != "s3:getObject"}


def policy(template: Mapping[str, Any]) -> str:
    """Return the policy as JSON.

    The person who deploys must replace REGION, ACCOUNT, STACK and BUCKET in the policy.
    """
    actions = needed(template)
    by_service: dict[str, list[str]] = {}
    for action in sorted(actions - {"iam:PassRole", "iam:CreateServiceLinkedRole"}):
        by_service.setdefault(action.partition(":")[0], []).append(action)
    places = dict(_PLACES, cloudformation=[f"{_HERE}stack/STACK/*", "arn:aws:cloudformation:REGION:aws:transform/*"])
    anywhere: list[str] = []
    statements = []
    for service, names in by_service.items():
        anywhere += [name for name in names if service not in places or name in _ANYWHERE]
        here = [name for name in names if service in places and name not in _ANYWHERE]
        if here:
            reached = [place.format(service=service) for place in places[service]]
            statements.append(_statement(service, here, reached))
    passed = {"iam:PassedToService": ["lambda.amazonaws.com", "scheduler.amazonaws.com", "codedeploy.amazonaws.com"]}
    linked = {"iam:AWSServiceName": ["lambda.application-autoscaling.amazonaws.com", "ops.apigateway.amazonaws.com"]}
    statements += [
        _statement("others", anywhere, ["*"]),
        _statement("passrole", ["iam:PassRole"], ["arn:aws:iam::ACCOUNT:role/STACK-*"])
        | {"Condition": {"StringEquals": passed}},
        _statement("linkedroles", ["iam:CreateServiceLinkedRole"], ["arn:aws:iam::ACCOUNT:role/aws-service-role/*"])
        | {"Condition": {"StringEquals": linked}},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=1) + "\n"


def _statement(subject: str, actions: Iterable[str], resources: list[str]) -> dict[str, Any]:
    """Return a statement, whose id says what the statement applies to. IAM accepts only letters and digits in an id."""
    reach = next((words for word, words in _REACH.items() if any(word in place for place in resources)), "EveryStack")
    sid = f"{reach}{subject.capitalize()}"
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": resources}


def main() -> int:
    """Write the policy, or check whether the written policy is up to date."""
    made = policy(json.loads((HERE / "cloudformation.json").read_text("utf-8")))
    if "--check" not in sys.argv:
        POLICY.write_text(made, "utf-8")
    elif made != POLICY.read_text("utf-8"):
        sys.stderr.write(f"{POLICY.name} is out of date: run `make template`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
