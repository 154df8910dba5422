"""Test Lambda's trace header, and the spans that are sent to the X-Ray daemon."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys

import pytest

from ticketbottle_payctl.aws.xray import request_span, traceparent_of, tracer_of

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
TRACE_ID, PARENT_ID = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
CODE = """
from ticketbottle_payctl.aws.xray import request_span, tracer_of, traceparent_of
import os
with request_span(tracer_of(os.environ), "webhook momo", traceparent_of(os.environ["_X_AMZN_TRACE_ID"])) as handed_on:
    print(handed_on)
"""


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER, f"00-{TRACE_ID}-{PARENT_ID}-01"),
        (HEADER.replace("Sampled=1", "Sampled=0"), f"00-{TRACE_ID}-{PARENT_ID}-00"),
        (f"{HEADER};Lineage=a87bd80c:1|68fd508a:5", f"00-{TRACE_ID}-{PARENT_ID}-01"),
        ("Root=1-5759e988-bd862e3fe1be46a994272793", None),
        ("Root=1-5759e988-bd862e3fe1be46a99427279Z;Parent=53995c3f42cd8ad8", None),
        (HEADER.replace(PARENT_ID, "0" * 16), None),
        ("", None),
        (None, None),
        ("\x00;" * 1000, None),
    ],
)
def test_a_trace_header_becomes_a_traceparent(header, expected):
    """A valid trace header becomes a traceparent. A malformed or missing header becomes None without an error."""
    assert traceparent_of(header) == expected


def test_the_traceparent_has_the_ids_of_the_trace_header():
    """The traceparent contains the trace id and the parent id from X-Ray's header. OpenTelemetry can read both ids."""
    words = pytest.importorskip("opentelemetry.trace.propagation.tracecontext")
    trace = pytest.importorskip("opentelemetry.trace")
    context = words.TraceContextTextMapPropagator().extract({"traceparent": traceparent_of(HEADER)})
    found = trace.get_current_span(context).get_span_context()
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled) == (TRACE_ID, PARENT_ID, True)


def test_no_span_is_made_unless_traces_are_configured():
    """If PAYCTL_TRACES is not set, payctl does not create a tracer, but forwards the incoming traceparent."""
    assert tracer_of({}) is None
    with request_span(None, "webhook momo", "00-a-b-01") as handed_on:
        assert handed_on == "00-a-b-01"


def test_a_span_is_sent_by_udp_when_it_ends():
    """A span is sent when it ends. The span is a child of Lambda's segment and has the X-Ray daemon's format."""
    proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        environ = {
            "PATH": os.environ["PATH"],
            "PAYCTL_TRACES": "xray-udp",
            "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{daemon.getsockname()[1]}",
            "_X_AMZN_TRACE_ID": HEADER,
        }
        code = [sys.executable, "-W", "error", "-c", CODE]
        done = subprocess.run(code, env=environ, capture_output=True, text=True, check=True, timeout=60)
        header, _, rest = daemon.recv(70_000).partition(b"\n")
    assert (json.loads(header), rest[:3]) == ({"format": "json", "version": 1}, b"T1S")
    request = proto.ExportTraceServiceRequest.FromString(base64.b64decode(rest[3:]))
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("webhook momo", TRACE_ID, PARENT_ID)
    assert done.stdout.strip() == f"00-{TRACE_ID}-{span.span_id.hex()}-01"


def test_a_missing_xray_daemon_delays_nothing():
    """If no X-Ray daemon is listening, the span is lost and the program ends without an error."""
    pytest.importorskip("opentelemetry.sdk")
    environ = {"PAYCTL_TRACES": "xray-udp", "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:1", "_X_AMZN_TRACE_ID": HEADER}
    done = subprocess.run([sys.executable, "-c", CODE], env=environ, capture_output=True, text=True, check=True)
    assert (done.stdout.startswith(f"00-{TRACE_ID}-"), done.stderr) == (True, "")
