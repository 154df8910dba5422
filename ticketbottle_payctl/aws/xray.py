"""Read X-Ray's trace header on Lambda, and send OpenTelemetry spans to the UDP address of Lambda's X-Ray daemon.

The header is converted to a ``traceparent``. A packet contains a line of JSON, then ``T1S`` (sampled) or ``T1U``
(unsampled), then OTLP data in base64. AWS's OpenTelemetry distribution sends the same format. Tracing therefore needs
neither a collector nor an endpoint, and cannot delay a reply.
https://github.com/aws-observability/aws-otel-python-instrumentation
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ticketbottle_payctl.logs import log_event

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult
    from opentelemetry.trace import Tracer

ASKED_FOR = "PAYCTL_TRACES"
BY_UDP = "xray-udp"
"""The value of the variable ``ASKED_FOR`` that turns tracing on. Tracing needs the otel extra."""

_HEADER = b'{"format":"json","version":1}\n'
_DEFAULT_ADDRESS, _DEFAULT_PORT = "127.0.0.1:2000", 2000
_LARGEST_DATAGRAM = 65_000
_ROOT = re.compile(r"(?:^|;)Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;|$)")
_PARENT = re.compile(r"(?:^|;)Parent=([0-9a-f]{16})(?:;|$)")
_SAMPLED = re.compile(r"(?:^|;)Sampled=1(?:;|$)")


def traceparent_of(header: str | None) -> str | None:
    """Return X-Ray's header as a W3C ``traceparent``, or None if the header is absent or malformed."""
    text = header or ""
    root, parent = _ROOT.search(text), _PARENT.search(text)
    if root is None or parent is None or set(parent[1]) == {"0"}:
        return None
    return f"00-{root[1]}{root[2]}-{parent[1]}-{'01' if _SAMPLED.search(text) else '00'}"


def tracer_of(environ: Mapping[str, str]) -> Tracer | None:
    """Set up tracing and return a tracer. Return None if tracing is off or the otel extra is not installed."""
    if environ.get(ASKED_FOR) != BY_UDP:
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only if tracing is on
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

    except ImportError:
        log_event("tracing_is_off", level="warning", hint="pip install 'payctl[otel]'")
        return None
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        name = environ.get("OTEL_SERVICE_NAME") or environ.get("AWS_LAMBDA_FUNCTION_NAME") or "payctl"
        provider = TracerProvider(resource=Resource.create({"service.name": name, "cloud.provider": "aws"}))
        # Each span is sent when it ends. A batch in the background would stop when the function is frozen.
        exporter: Any = UdpExporter(environ.get("AWS_XRAY_DAEMON_ADDRESS"))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
    return trace.get_tracer("lambda_entrypoints")


class UdpExporter:
    """An exporter for the SDK's span processor.

    The exporter sends spans to ``host:port`` without waiting, and never raises an error.

    A span that is larger than a datagram is dropped.
    """

    def __init__(self, address: str | None = None) -> None:
        host, _, port = (address or _DEFAULT_ADDRESS).rpartition(":")
        self._address = host, int(port) if port.isdigit() else _DEFAULT_PORT
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 - the socket's own signature

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans that have ended. Sampled and unsampled spans are sent in separate packets."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415 - only
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 - if tracing is on

        for sampled, mark in ((True, b"T1S"), (False, b"T1U")):
            chosen = [span for span in spans if bool(span.context.trace_flags.sampled) is sampled]
            data = base64.b64encode(encode_spans(chosen).SerializeToString()) if chosen else b""
            if chosen and len(data) < _LARGEST_DATAGRAM:
                with suppress(OSError):
                    self._socket.sendto(_HEADER + mark + data, self._address)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Do nothing, because every span has already been sent."""
        return timeout_millis >= 0

    def shutdown(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextmanager
def request_span(tracer: Tracer | None, name: str, traceparent: str | None) -> Iterator[str | None]:
    """Open a span for a request, as a child of the span in ``traceparent``.

    Yield the new ``traceparent`` to pass on.

    Without a tracer, yield ``traceparent`` unchanged.
    """
    if tracer is None:
        yield traceparent
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only if tracing is on
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    words = TraceContextTextMapPropagator()
    parent = words.extract({"traceparent": traceparent} if traceparent else {})
    with tracer.start_as_current_span(name, context=parent, kind=SpanKind.SERVER):
        carrier: dict[str, str] = {}
        words.inject(carrier)
        yield carrier.get("traceparent", traceparent)
