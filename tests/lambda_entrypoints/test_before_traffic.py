"""Test that CodeDeploy sends callbacks to a new version only if the version refuses forgeries."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import unquote

import pytest

from lambda_entrypoints import before_traffic, webhook
from lambda_entrypoints.before_traffic import _event
from lambda_entrypoints.forgeries import FORGERIES
from ticketbottle_payctl.aws.api_gateway import to_request
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import environment
from ticketbottle_payctl.sandbox.server import free_port

VERSION = "arn:aws:lambda:ap-southeast-1:111122223333:function:payctl-prod-webhook:7"
ASKED = {"DeploymentId": "d-TESTTEST1", "LifecycleEventHookExecutionId": "an-execution"}
NOWHERE = "postgresql://somebody:a-password-of-mine@127.0.0.1:1/payments"


@pytest.fixture
def aws():
    """Yield a function that starts a local server in place of Lambda and CodeDeploy.

    ``told`` contains the reports to CodeDeploy. ``version`` takes an event and returns the status, headers and body of
    Lambda's response.
    """
    servers = []

    class Aws:
        told = ()
        invoked = ()

        def __call__(self, version):
            outer = self

            class Handler(BaseHTTPRequestHandler):
                def do_POST(self):
                    sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
                    if "CodeDeploy" in self.headers.get("x-amz-target", ""):
                        outer.told = (*outer.told, sent)
                        status, headers, body = 200, {}, sent
                    else:
                        outer.invoked = (*outer.invoked, unquote(self.path.split("/")[3]))
                        status, headers, body = version(sent)
                    data = json.dumps(body).encode()
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

                def log_message(self, *_):
                    """Suppress the server's own log."""

            server = HTTPServer(("127.0.0.1", 0), Handler)
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
            servers.append(server)
            return {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
                "AWS_REGION": "ap-southeast-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "PAYCTL_NEW_VERSION": VERSION,
            }

    yield Aws()
    for server in servers:
        server.shutdown()
        server.server_close()


def deployed(event):
    """Call the webhook of this source tree with the event, as Lambda does."""
    return 200, {}, webhook.handler(event, None)


def status_of(aws):
    """Return the status that was reported to CodeDeploy. Assert that exactly one status was reported."""
    (told,) = aws.told
    assert (told["deploymentId"], told["lifecycleEventHookExecutionId"]) == tuple(ASKED.values())
    return told["status"]


@pytest.mark.parametrize("gateway", FORGERIES)
def test_a_new_version_gets_the_forgery_as_an_http_api_event(gateway):
    """The deployment check sends a new version an HTTP API event that contains the gateway's forgery unchanged."""
    assert to_request(_event(gateway, FORGERIES[gateway])) == FORGERIES[gateway]


def test_a_version_that_refuses_every_forgery_gets_callbacks(called, aws):
    """A version that refuses every forgery passes the deployment check. The check does not need a database."""
    environ = aws(deployed)
    found = called(before_traffic.handler, ASKED, DATABASE_URL=NOWHERE, **environ)
    assert found == dict.fromkeys(GATEWAYS, "refused")
    assert status_of(aws) == "Succeeded"
    assert set(aws.invoked) == {VERSION}
    assert len(aws.invoked) == len(GATEWAYS)


def test_a_gateway_without_keys_does_not_stop_a_deployment(called, aws):
    """The deployment check passes if at least one gateway has keys and the version refuses that gateway's forgery."""
    only = {name: "" for name in environment() if not name.startswith("MOMO")}
    called(before_traffic.handler, ASKED, DATABASE_URL=NOWHERE, **aws(deployed), **only)
    assert status_of(aws) == "Succeeded"
    aws.told = ()
    called(before_traffic.handler, ASKED, DATABASE_URL=NOWHERE, **aws(deployed), **dict.fromkeys(environment(), ""))
    assert status_of(aws) == "Failed"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {}, {"statusCode": 200, "body": '{"return_code":1,"return_message":"success"}'}),
        (200, {}, {"statusCode": 500, "body": ""}),
        (200, {"x-amz-function-error": "Unhandled"}, {"errorType": "Runtime.ImportModuleError"}),
        (200, {}, "text"),
    ],
    ids=["accepts a forgery", "asks to try again", "cannot be imported", "answers nonsense"],
)
def test_a_version_that_accepts_a_forgery_gets_no_callbacks(called, aws, status, headers, body):
    """If a version does not refuse a forgery, the deployment check fails and logs the verdicts."""
    called(before_traffic.handler, ASKED, **aws(lambda _: (status, headers, body)))
    assert status_of(aws) == "Failed"
    (line,) = [line for line in called.printed.logs if line["message"] == "before_traffic"]
    assert (line["level"], set(line["verdicts"].values())) == ("ERROR", {"failed"})


@pytest.mark.parametrize("status", [403, 429])
def test_a_version_that_cannot_be_invoked_is_reported_as_failed(called, aws, status):
    """If the new version cannot be invoked, the deployment check reports a failure to CodeDeploy."""
    environ = aws(lambda _: (status, {"x-amzn-errortype": "AccessDeniedException"}, {"message": "no"}))
    with pytest.raises(Exception, match=r"AccessDenied|TooMany|ClientError"):
        called(before_traffic.handler, ASKED, **environ)
    assert status_of(aws) == "Failed"


def test_the_check_fails_if_aws_is_unreachable(called, aws):
    """If AWS is unreachable, the deployment check raises an error and does not report a result."""
    environ = aws(deployed) | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    with pytest.raises(Exception, match="EndpointConnectionError"):
        called(before_traffic.handler, ASKED, **environ)
    assert aws.told == ()


def test_the_newest_version_has_its_own_metric(called):
    """The webhook counts "try again" replies separately for each version."""
    event = _event("momo", FORGERIES["momo"])
    environ = {"DATABASE_URL": NOWHERE, "OUTBOX_BATCH_SIZE": "many"}
    called(webhook.handler, event, AWS_LAMBDA_FUNCTION_VERSION="7", **environ)
    assert called.printed.metrics["WebhookTransientError"] == 1
    lines = [json.loads(line) for line in called.printed.out.splitlines()]
    (found,) = [line for line in lines if "version" in line]
    assert (found["version"], found["WebhookTransientError"], found["env"]) == ("7", 1, "test")
    assert found["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["env", "version"]]
