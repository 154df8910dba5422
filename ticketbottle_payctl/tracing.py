"""Optionally create an OpenTelemetry span for each batch that is sent, with links to the callbacks behind its events.

Tracing is on if OpenTelemetry's variables (such as OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT) turn it on, or
if a host program has already set up tracing. Otherwise payctl does not import OpenTelemetry. Tracing needs the otel
extra. The traced work does not fail if a span cannot be created or delivered.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ lists the variables.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from ticketbottle_payctl import __version__
from ticketbottle_payctl.domain.event import TOPICS, OutboxEvent
from ticketbottle_payctl.logs import log_event

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, SpanContext, Tracer

MOST_LINKS = 128
"""The maximum number of links in a span, which is also the SDK's limit.

A batch can have thousands of events, so not every event gets a link.
"""

Ended = Callable[[Mapping[str, int]], None]
"""The type of a function that receives the batch's result, as counts by name."""

BatchSpan = Callable[[Sequence[OutboxEvent]], AbstractContextManager[Ended]]

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SCOPE = "ticketbottle_payctl"
_EXPORTERS = {"otlp": {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}}
_HINT = "pip install 'payctl[otel]'"


def batch_span(events: Sequence[OutboxEvent]) -> AbstractContextManager[Ended]:
    """Open a span for sending ``events`` if tracing is on. Otherwise do nothing."""
    tracer = _tracer()
    return nullcontext(_ignore) if tracer is None else traced_batch(tracer, events)


@contextmanager
def traced_batch(tracer: Tracer, events: Sequence[OutboxEvent]) -> Iterator[Ended]:
    """Open a span in a new trace, with links to the traces that led to these events, at most :data:`MOST_LINKS`."""
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - only if tracing is on

    span = tracer.start_span("publish_outbox", kind=SpanKind.PRODUCER, links=_links(events), attributes=_about(events))

    def ended(counts: Mapping[str, int]) -> None:
        span.set_attributes({f"payctl.outbox.{name}": number for name, number in counts.items()})
        if counts.get("unsent") and not counts.get("published"):
            span.set_status(Status(StatusCode.ERROR, "the brokers acknowledged nothing"))

    try:
        yield ended
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        span.end()


def lacks_packages(environ: Mapping[str, str]) -> str | None:
    """Return a sentence if ``environ`` turns tracing on, but the otel extra is not installed."""
    from importlib.util import find_spec  # noqa: PLC0415 - only `payctl config validate` asks

    name = _exporter(environ)
    if name is None or (find_spec("opentelemetry") and find_spec("opentelemetry.sdk")):
        return None
    return f"the OTEL_ variables turn tracing on, but the otel extra is not installed: {_HINT}"


def flush(seconds: float = 2.0) -> None:
    """Send all spans that have not been sent yet.

    Call this before a Lambda function is frozen and before a process ends.
    """
    if "opentelemetry.sdk.trace" in sys.modules and _provider.cache_info().currsize:
        provider = _provider()
        if provider is not None:
            provider.force_flush(int(seconds * 1000))


def span_context(traceparent: str | None) -> SpanContext | None:
    """Return the span context in a ``traceparent``, or None if the ``traceparent`` is missing or malformed.

    https://www.w3.org/TR/trace-context/ defines the format.
    """
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - only if tracing is on

    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _links(events: Sequence[OutboxEvent]) -> list[Link]:
    from opentelemetry.trace import Link  # noqa: PLC0415 - only if tracing is on

    links: list[Link] = []
    for event in events:
        context = span_context(event.context[1]) if event.context is not None else None
        if context is not None:
            links.append(Link(context, {"messaging.message.id": event.id}))
            if len(links) == MOST_LINKS:
                break
    return links


def _about(events: Sequence[OutboxEvent]) -> dict[str, str | int]:
    """Return the span's attributes.

    Most names come from https://opentelemetry.io/docs/specs/semconv/messaging/kafka/.
    """
    topics = Counter(TOPICS.get(event.event_type, "none") for event in events)
    one = {"messaging.destination.name": next(iter(topics))} if len(topics) == 1 else {}
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
        "messaging.batch.message_count": len(events),
        **one,
        **{f"payctl.topic.{topic}": number for topic, number in topics.items()},
    }


@cache
def _tracer() -> Tracer | None:
    host = sys.modules.get("opentelemetry.trace")
    if host is not None and not isinstance(host.get_tracer_provider(), host.ProxyTracerProvider):
        tracer: Tracer = host.get_tracer(_SCOPE, __version__)
        return tracer
    provider = _provider()
    return None if provider is None else provider.get_tracer(_SCOPE, __version__)


@cache
def _provider() -> TracerProvider | None:
    """Return a provider with the exporter that the environment selects. The SDK reads the other variables."""
    name = _exporter(os.environ)
    if name is None:
        return None
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only if tracing is on
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        exporter = _make_exporter(name)
    except Exception as error:  # noqa: BLE001 - the events must be sent even without a trace
        log_event("tracing_is_off", level="warning", exporter=name, reason=type(error).__name__, hint=_HINT)
        return None
    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "payctl"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(environ: Mapping[str, str]) -> str | None:
    """Return the name of the exporter that the environment selects, or None if tracing is off."""
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or named == "none" or not (named or endpoint):
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    first = (named or "otlp").split(",")[0].strip()
    return _EXPORTERS.get(first, {}).get(protocol or "http/protobuf", first)


def _make_exporter(name: str) -> Any:  # noqa: ANN401 - a class that an installed package has registered
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import

    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        message = f"no exporter is installed as {name}"
        raise LookupError(message)
    return next(iter(found)).load()()


def _ignore(_counts: Mapping[str, int]) -> None:
    """Ignore the batch's result, because tracing is off."""
