"""Test the configuration of the functions and of the services that call them."""

from __future__ import annotations

import importlib
import json
import re
import tomllib

import pytest

from ticketbottle_payctl import settings
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.logs import LEVELS
from ticketbottle_payctl.providers import GATEWAYS, resolve
from ticketbottle_payctl.providers.samples import sample

RUNTIMES = {"python3.12", "python3.13", "python3.14"}
"""The Lambda runtimes for which wheels of the Kafka client exist."""

RESERVED = {"AWS_REGION", "AWS_DEFAULT_REGION", "LAMBDA_TASK_ROOT", "PATH", "PYTHONPATH", "_HANDLER", "TZ"}


def integrations(of_type):
    """Return each API operation as ``(method, path, integration)``."""
    api = of_type("ApiGatewayV2::Api")["Api"]
    return [
        (method.upper(), path, operation["x-amazon-apigateway-integration"])
        for path, methods in api["Body"]["paths"].items()
        for method, operation in methods.items()
    ]


def test_each_function_has_explicit_basic_settings(functions):
    """The template explicitly sets every function setting that can cost money or cause a failure."""
    for function in functions.values():
        assert function["Runtime"] in RUNTIMES
        assert function["Architectures"] == [{"Ref": "Architecture"}]
        assert {"Timeout", "MemorySize", "VpcConfig", "Role", "Layers"} <= function.keys()
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        # Lambda treats a line without a level, such as a metric, as INFO. A stricter filter would drop the line.
        assert function["LoggingConfig"]["ApplicationLogLevel"] == "DEBUG"
        assert function["LoggingConfig"]["SystemLogLevel"] == "INFO"
        assert function["Environment"]["Variables"]["LOG_LEVEL"] == {"Ref": "LogLevel"}
        assert function["LoggingConfig"]["LogGroup"]["Ref"].endswith("LogGroup")
        assert "SnapStart" not in function


def test_each_function_s_handler_exists(functions):
    """Every handler in the template can be imported and called."""
    for function in functions.values():
        module, name = function["Handler"].rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), name))


def test_the_layer_fits_the_functions(functions, of_type):
    """The layer and the functions have the same runtime and architecture."""
    (layer,) = of_type("Lambda::LayerVersion").values()
    for function in functions.values():
        assert layer["CompatibleRuntimes"] == [function["Runtime"]]
        assert layer["CompatibleArchitectures"] == function["Architectures"]


def test_the_functions_environment_has_no_secret_value(functions, values):
    """A function's secret variable contains the secret's ARN. CloudFormation does not resolve the secret's value."""
    for function in functions.values():
        named = function["Environment"]["Variables"]
        variables = {name: value for name, value in named.items() if value != {"Ref": "AWS::NoValue"}}
        assert len(json.dumps(variables)) < 4000
        assert RESERVED.isdisjoint(named)
        plain = [name for name in variables if re.search("KEY|SECRET|PASSWORD|DATABASE_URL|USERNAME", name)]
        assert [name for name in plain if not name.endswith("_SECRET_ARN")] == []
        assert not any("{{resolve" in text for text in values(variables))
        assert {text for name in plain for text in values(variables[name])} <= {
            "Ref", "Fn::If", "AWS::NoValue", "HasKafkaSecret", "WebhookDatabaseSecretArn", "OutboxDatabaseSecretArn",
            "CleanupDatabaseSecretArn", "WatchDatabaseSecretArn", "GatewaySecretArn", "KafkaSecretArn",
            "ReconcileDatabaseSecretArn", "ReconcileGatewaySecretArn",
        }  # fmt: skip


def test_the_webhook_function_gets_every_key_that_signs_callbacks(functions):
    """The webhook function gets exactly those fields of the gateways' secret that are used to sign callbacks."""
    signing = {field.env for gateway in GATEWAYS.values() for field in gateway.fields if field.signs_callbacks}
    variables = functions["WebhookFunction"]["Environment"]["Variables"]
    given = {name for name, value in variables.items() if value == {"Ref": "GatewaySecretArn"}}
    assert given == {f"{name}_SECRET_ARN" for name in signing}


def test_every_variable_of_the_template_exists_in_the_code(functions, root):
    """The code reads every variable in the template. Otherwise, a misspelt variable would silently have no effect."""
    folders = (root / "ticketbottle_payctl", root / "lambda_entrypoints")
    known = "\n".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    for function in functions.values():
        names = {name.removesuffix("_SECRET_ARN") for name in function["Environment"]["Variables"]}
        assert {name for name in names if f'"{name}"' not in known} <= {"PGSSLMODE", "PGSSLROOTCERT"}


def test_the_template_s_defaults_equal_the_code_s_defaults(template):
    """The template and the code have the same default batch size, retries, retention, loop seconds and log level."""
    parsed = settings.Settings.from_env({})
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    assert defaults["BatchSize"] == parsed.batch_size
    assert defaults["MaxRetries"] == parsed.max_retries
    assert defaults["RetentionDays"] == parsed.retention.days
    assert defaults["LoopSeconds"] == parsed.loop.total_seconds()
    assert defaults["ReconcileMaxPayments"] == parsed.reconcile_cap
    assert defaults["LogLevel"] == parsed.log_level
    assert set(template["Parameters"]["LogLevel"]["AllowedValues"]) <= LEVELS.keys()


def test_the_publishing_loop_ends_60_seconds_before_the_function(template, functions):
    """The publishing loop ends 60 seconds before its function does, so events in flight survive a leader change."""
    assert functions["PublishOutboxFunction"]["Timeout"] - template["Parameters"]["LoopSeconds"]["MaxValue"] >= 60


def test_each_gateway_has_a_route_of_the_api(of_type):
    """Every gateway has an API route with its sample callback's HTTP method, and every route leads to a gateway."""
    called = {(method, path) for method, path, _ in integrations(of_type)}
    gateways = {(method, resolve(Request(method, path, "", b"")).name) for method, path in called}
    assert gateways == {(sample(name).request.method, name) for name in GATEWAYS}
    assert {path.rsplit("/", 1)[0] for _, path in called} == {"/webhook"}


def test_deploy_md_names_each_route_with_another_spelling(root, of_type):
    """The API serves another spelling of a gateway's name only if docs/deploy.md mentions this route."""
    served = {path for _, path, _ in integrations(of_type)} - {f"/webhook/{name}" for name in GATEWAYS}
    (sentence,) = re.findall(r"The API also serves ([^.]+)\.", (root / "docs" / "deploy.md").read_text("utf-8"))
    assert served == set(re.findall(r"`(/webhook/[^`]+)`", sentence))


def test_the_api_waits_longer_than_the_webhook_function_runs(of_type, functions):
    """The webhook function's timeout is shorter than the API's, so the gateway always gets payctl's reply."""
    for _, _, integration in integrations(of_type):
        assert integration["payloadFormatVersion"] == "2.0"
        assert functions["WebhookFunction"]["Timeout"] * 1000 < integration["timeoutInMillis"] <= 30_000
        assert "WebhookFunctionAliaslive" in json.dumps(integration)


@pytest.mark.parametrize(
    ("function", "retries", "age"),
    [
        ("PublishOutboxFunction", 0, 60),
        ("CleanupFunction", 2, 3600),
        ("WatchPaymentsFunction", 0, 60),
        ("ReconcilePaymentsFunction", 0, 600),
        ("ProbeFunction", 0, 60),
    ],
)
def test_a_scheduled_run_that_fails_for_good_goes_to_the_dead_letter_queue(of_type, function, retries, age):
    """Lambda retries a failed run a limited number of times.

    After that, the run's event goes to the dead-letter queue.
    """
    configs = {each["FunctionName"]["Ref"]: each for each in of_type("Lambda::EventInvokeConfig").values()}
    assert configs[function]["MaximumRetryAttempts"] == retries
    assert configs[function]["MaximumEventAgeInSeconds"] == age
    assert configs[function]["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0] == "InvocationDlq"


def test_the_functions_run_at_their_scheduled_times(of_type):
    """The schedules start functions every minute, every 5 minutes, every 15 minutes, and every night (Vietnam time).

    The schedule names contain the stack's name.
    """
    schedules = of_type("Scheduler::Schedule")
    assert len(schedules) == 5
    for schedule in schedules.values():
        assert "${AWS::StackName}" in schedule["Name"]["Fn::Sub"]
        assert {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"} == schedule["Target"]["RetryPolicy"].keys()
        assert schedule["Target"]["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0] == "InvocationDlq"
        assert schedule["GroupName"] == {"Ref": "ScheduleGroup"}
    when = {each["ScheduleExpression"]: each.get("ScheduleExpressionTimezone") for each in schedules.values()}
    assert when == {
        "rate(1 minute)": None,
        "rate(5 minutes)": None,
        "rate(15 minutes)": None,
        "cron(30 3 * * ? *)": "Asia/Ho_Chi_Minh",
    }


def test_the_processor_s_role_allows_exactly_the_topics_of_the_code(of_type, values):
    """With aws-iam, the role of the publisher's function can write only to the topics in the code."""
    policy = of_type("IAM::Role")["PublishOutboxRole"]["Policies"]
    named = {text for text in values(policy) if "${Topics}" in text}
    assert named == {",".join(f"${{Topics}}/{topic}" for topic in TOPICS.values())}


@pytest.mark.parametrize(
    ("function", "ways"),
    [
        ("WebhookFunction", {"DatabaseIngress", "EndpointIngress"}),
        ("PublishOutboxFunction", {"DatabaseIngress", "EndpointIngress", "KafkaIngress"}),
        ("CleanupFunction", {"DatabaseIngress", "EndpointIngress"}),
        ("WatchPaymentsFunction", {"DatabaseIngress", "EndpointIngress"}),
        ("ReconcilePaymentsFunction", {"DatabaseIngress", "EndpointIngress"}),
    ],
)
def test_a_function_s_permissions_exist_before_its_first_run(template, function, ways):
    """A function is created after its network rules, and the function's role has all permissions from the start."""
    resource = template["Resources"][function]
    assert set(resource["DependsOn"]) == ways
    schedules = {
        name: json.dumps(one)
        for name, one in template["Resources"].items()
        if one["Type"] == "AWS::Scheduler::Schedule"
    }
    assert function == "WebhookFunction" or any(f'["{function}", "Arn"]' in one for one in schedules.values())
    kinds = {one["Type"] for one in template["Resources"].values()}
    assert "AWS::IAM::Policy" not in kinds  # a separate policy would be attached after the role is in use


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_samconfig_is_complete(root, template, environment):
    """Each environment in samconfig.toml sets every required parameter, but no unknown parameters or secrets."""
    config = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))
    assert config["version"] == 0.1
    deploy = config[environment]["deploy"]["parameters"]
    given = dict(each.split("=", 1) for each in deploy["parameter_overrides"])
    required = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    assert "Release" not in given  # `make deploy` sets this parameter
    assert required - {"CodeBucket", "CodeKey", "LayerKey"} <= given.keys() <= template["Parameters"].keys()
    assert given["Environment"] == environment
    for name, value in given.items():
        parameter = template["Parameters"][name]
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), value), name
        assert value in map(str, parameter.get("AllowedValues", [value]))
        assert environment != "prod" or given["AlarmEmail"]
        assert not name.endswith("SecretArn") or value.startswith("arn:aws:secretsmanager:")
    assert deploy["confirm_changeset"] is (environment == "prod")
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert deploy["fail_on_empty_changeset"] is False
    assert config[environment]["validate"]["parameters"]["lint"] is True
    assert (root / deploy["template_file"]).is_file()
