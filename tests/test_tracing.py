"""Test that payctl's spans link to the callbacks' traces, and that a tracing fault does not stop a command."""

import os
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import BrokerUnavailableError
from ticketbottle_payctl.jobs.process_webhook import Trace, process_webhook
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions, publish_outbox
from ticketbottle_payctl.providers import by_name, credentials
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.sandbox.server import free_port
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.tracing import MOST_LINKS, span_context, traced_batch

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
MALFORMED = (
    None,
    "",
    "nonsense",
    f"00-{TRACE}-{PARENT}",
    f"00-{TRACE.upper()}-{PARENT}-01",
    f"ff-{TRACE}-{PARENT}-01",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{PARENT}-01\n",
    f"00-{TRACE}-{PARENT}-zz",
    "x" * 1000,
)


@pytest.fixture
def spans():
    """Yield an exporter that keeps spans in memory. The tracer exports each span at once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.tracer = provider.get_tracer("test")
    yield exporter
    provider.shutdown()


@pytest.fixture
def publish(engine, mock_kafka, spans):
    """Yield a function that publishes the pending events with tracing."""
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))

    def run(**options):
        observer = Observer(span=lambda events: traced_batch(spans.tracer, events))
        return publish_outbox(engine, producer, PublishOptions(**options), observer=observer)

    yield run
    producer.close()


def settle(engine, traceparent):
    """Settle a payment with a callback that carries this traceparent."""
    with engine.begin() as connection:
        payment = insert_payment(connection, order_code=f"TB-ROCK-20261123-{uuid4().hex[:8].upper()}")
    request = callback(payment, Scenario.PAID)
    keys = credentials(by_name("zalopay"), lambda name: tuple(map(Secret, filter(None, [environment().get(name)]))))
    return process_webhook(engine, request, by_name("zalopay"), keys, trace=Trace("correlation-1", traceparent))


def trace_events(engine, traceparent):
    """Give every outbox row a traceparent in which the row's number replaces ``%``."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO payctl.event_context (event_id, traceparent) "
            "SELECT id, replace(%s, '%%', lpad(to_hex(row_number() OVER ()), 16, '0')) FROM outbox",
            (traceparent,),
        )


def test_a_callbacks_trace_reaches_kafka_and_the_span(engine, publish, spans, mock_kafka, read_all):
    """The callback's traceparent becomes a header of the Kafka message, and the batch's span links to it."""
    event = settle(engine, TRACEPARENT).event
    publish()
    (message,) = read_all(mock_kafka.bootstrap)
    assert message.header["id"].decode() == event.id
    assert message.header["traceparent"].decode() == TRACEPARENT
    assert message.header["correlationId"] == b"correlation-1"
    (span,) = spans.get_finished_spans()
    (link,) = span.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == (TRACE, PARENT)
    assert link.context.is_remote
    assert link.attributes["messaging.message.id"] == event.id
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


@pytest.mark.parametrize("traceparent", MALFORMED)
def test_a_bad_traceparent_changes_nothing(traceparent, engine, publish, spans):
    """If an event's traceparent is missing or malformed, the event is still published and the span has no link."""
    settle(engine, traceparent)
    assert publish().counts.published == 1
    (span,) = spans.get_finished_spans()
    assert span.links == ()
    assert span_context(traceparent) is None


def test_each_batch_has_one_span_with_its_counts(engine, publish, spans):
    """A batch's span has the topics and three counts: all events, published events and dead events."""
    with engine.begin() as connection:
        insert_events(connection, 25, event_type="PAYMENT_FAILED")
        insert_events(connection, 5, event_type="PAYMENT_REFUNDED")
    publish(batch_size=20)
    found = spans.get_finished_spans()
    total = {"published": 0, "dead": 0, "messaging.batch.message_count": 0}
    for span in found:
        assert (span.name, span.kind) == ("publish_outbox", SpanKind.PRODUCER)
        assert span.attributes["messaging.system"] == "kafka"
        assert span.status.status_code is not StatusCode.ERROR
        for name in ("published", "dead"):
            total[name] += span.attributes[f"payctl.outbox.{name}"]
        total["messaging.batch.message_count"] += span.attributes["messaging.batch.message_count"]
    assert len(found) == 2
    assert total == {"published": 25, "dead": 5, "messaging.batch.message_count": 30}
    assert found[0].attributes["messaging.destination.name"] == "payment.failed"
    assert "messaging.destination.name" not in found[1].attributes
    assert found[1].attributes["payctl.topic.payment.failed"] == 5


def test_the_links_of_a_span_are_bounded(engine, publish, spans):
    """The span of a batch of 1,000 events has only as many links as the SDK keeps. All links are different."""
    with engine.begin() as connection:
        insert_events(connection, 1000)
    trace_events(engine, f"00-{TRACE}-%-01")
    assert publish(batch_size=1000).counts.published == 1000
    (span,) = spans.get_finished_spans()
    assert len({link.context.span_id for link in span.links}) == len(span.links) == MOST_LINKS
    assert span.dropped_links == 0


def test_an_error_ends_the_span_and_is_raised(spans):
    """If an error ends a span, the span contains the error's class but not its message.

    The error is raised unchanged.
    """
    message = "canary"
    with pytest.raises(BrokerUnavailableError, match=message), traced_batch(spans.tracer, []):
        raise BrokerUnavailableError(message)
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "BrokerUnavailableError"
    assert message not in span.to_json()


def test_the_span_of_an_unacknowledged_batch_is_an_error(spans):
    """A batch's span has the error status if no event was published and some events were not sent."""
    with traced_batch(spans.tracer, []) as ended:
        ended({"published": 0, "unsent": 3})
    with traced_batch(spans.tracer, []) as ended:
        ended({"published": 1, "unsent": 3})
    assert [span.status.is_ok for span in spans.get_finished_spans()] == [False, True]


OFF = """
import sys
from ticketbottle_payctl import tracing
from ticketbottle_payctl.jobs import publish_outbox
with tracing.batch_span([]) as ended:
    ended({"published": 1})
tracing.flush()
print(any(name.startswith("opentelemetry") for name in sys.modules))
"""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_SERVICE_NAME": "payctl"},
    ],
)
def test_opentelemetry_is_not_imported_unless_it_is_configured(variables):
    """If OpenTelemetry's variables are missing or turn tracing off, payctl does not import OpenTelemetry."""
    done = subprocess.run(
        [sys.executable, "-c", OFF], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "cause", [{"without": "opentelemetry"}, {"OTEL_TRACES_EXPORTER": "bogus"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}]
)
def test_a_missing_exporter_is_only_a_warning(cause):
    """If OpenTelemetry or its exporter is missing, payctl logs one warning and continues."""
    code = "from ticketbottle_payctl.logs import setup_logging; setup_logging('info')\n" + OFF
    if cause.get("without"):
        code = "import sys; sys.modules['opentelemetry'] = None\n" + code
    variables = {"OTEL_TRACES_EXPORTER": "otlp", **cause}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("tracing_is_off") == 1


def publish_command(database_url, mock_kafka, **variables):
    """Run ``payctl publish-outbox`` as a process."""
    own = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "ticketbottle_payctl", "publish-outbox"]
    return subprocess.run(
        command, env={**os.environ, **own, **variables}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_sends_its_spans_by_otlp(engine, database_url, mock_kafka):
    """`publish-outbox` sends its spans to an OTLP receiver before it exits.

    The standard OTEL_* variables configure the exporter.
    """
    with engine.begin() as connection:
        insert_events(connection, 30)
    trace_events(engine, f"00-{TRACE}-%-01")
    with receiver() as (url, requests):
        done = publish_command(
            database_url, mock_kafka, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_RESOURCE_ATTRIBUTES="team=payments"
        )
    assert done.returncode == 0, done.stderr
    (received,) = requests
    resource = {one.key: one.value.string_value for one in received.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["team"]) == ("payctl", "payments")
    (span,) = received.resource_spans[0].scope_spans[0].spans
    assert span.name == "publish_outbox"
    assert {link.trace_id.hex() for link in span.links} == {TRACE}
    assert len(span.links) == 30


def test_an_unavailable_collector_does_not_fail_a_command(engine, database_url, mock_kafka):
    """`publish-outbox` publishes the events and exits with code 0 even if it cannot send spans."""
    with engine.begin() as connection:
        insert_events(connection, 3)
    done = publish_command(
        database_url,
        mock_kafka,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def receiver():
    """Run an OTLP receiver. Yield its URL and the list of requests that it got."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Suppress the server's own log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()
        thread.join()
