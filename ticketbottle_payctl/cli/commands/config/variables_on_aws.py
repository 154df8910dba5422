"""List the variables of the functions on AWS, and the variables for spans."""

from __future__ import annotations

from ticketbottle_payctl.cli.commands.config.variable import (
    ALL,
    ARN,
    BEFORE,
    CLEANUP,
    CLI,
    FLAG,
    FUNCTIONS,
    IN_THE_VPC,
    NONE,
    PROBE,
    PUBLISH,
    TEXT,
    URL,
    WEBHOOK,
    Variable,
)

AWS = (
    Variable(
        "PAYCTL_ALERTS_TOPIC_ARN",
        ARN,
        NONE,
        (WEBHOOK, PUBLISH, CLEANUP),
        "arn:aws:sns:...",
        "The SNS topic for alerts to operators.",
    ),
    Variable(
        "PAYCTL_DEAD_EVENTS_QUEUE_URL",
        URL,
        NONE,
        (PUBLISH,),
        "https://sqs...",
        "The SQS queue for a message about each dead event.",
    ),
    Variable(
        "PAYCTL_PROBE_URL",
        URL,
        NONE,
        (PROBE,),
        "https://pay.example.com",
        "The address that the probe sends its forged callbacks to.",
    ),
    Variable(
        "PAYCTL_NEW_VERSION",
        ARN,
        NONE,
        (BEFORE,),
        "arn:aws:lambda:...:7",
        "The new version of the webhook, which must refuse forged callbacks.",
    ),
    Variable(
        "AWS_REGION", TEXT, NONE, ALL, "ap-southeast-1", "The region of AWS's services and of the token for Amazon MSK."
    ),
    Variable("AWS_DEFAULT_REGION", TEXT, NONE, ALL, "ap-southeast-1", "The region, if AWS_REGION is not set."),
    Variable(
        "AWS_ENDPOINT_URL",
        URL,
        NONE,
        IN_THE_VPC,
        "http://127.0.0.1:5000",
        "The address of a server that replaces AWS in tests.",
    ),
)
OF_LAMBDA = (
    Variable("AWS_LAMBDA_FUNCTION_VERSION", TEXT, NONE, (WEBHOOK,), "7", "The version of the webhook in its metrics."),
    Variable("AWS_LAMBDA_FUNCTION_NAME", TEXT, NONE, FUNCTIONS, "payctl-prod-webhook", "The service name in spans."),
    Variable(
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        TEXT,
        NONE,
        (WEBHOOK,),
        "provisioned-concurrency",
        "The start type. With provisioned concurrency, the webhook connects before its first callback.",
    ),
    Variable(
        "AWS_XRAY_DAEMON_ADDRESS",
        "host:port",
        NONE,
        FUNCTIONS,
        "169.254.100.1:2000",
        "The address that payctl sends spans to.",
    ),
    Variable(
        "_X_AMZN_TRACE_ID",
        TEXT,
        NONE,
        (WEBHOOK,),
        "Root=1-...;Parent=...",
        "X-Ray's trace id and span id of this request.",
    ),
)
TRACING = (
    Variable(
        "PAYCTL_TRACES",
        "off or xray-udp",
        "off",
        FUNCTIONS,
        "xray-udp",
        "Whether payctl sends its own spans; needs `make package SPANS=1`.",
    ),
    Variable("OTEL_SERVICE_NAME", TEXT, "payctl", ALL, "payctl-prod", "The service name in spans."),
    *(
        Variable(name, kind, NONE, (CLI,), example, meaning)
        for name, kind, example, meaning in (
            ("OTEL_TRACES_EXPORTER", "otlp, console or none", "otlp", "The exporter for spans; needs the otel extra."),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                URL,
                "http://127.0.0.1:4318",
                "The address that payctl sends spans to. Setting this variable turns spans on.",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                URL,
                "http://127.0.0.1:4318/v1/traces",
                "The address for spans. Overrides OTEL_EXPORTER_OTLP_ENDPOINT.",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "grpc or http/protobuf",
                "grpc",
                "The protocol for spans; http/protobuf by default.",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "grpc or http/protobuf",
                "grpc",
                "The protocol for spans. Overrides OTEL_EXPORTER_OTLP_PROTOCOL.",
            ),
            ("OTEL_SDK_DISABLED", FLAG, "true", "If true, payctl sends no spans, regardless of the other variables."),
        )
    ),
)
