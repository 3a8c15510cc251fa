"""Tracing set-up: OTLP over HTTP where OTEL_EXPORTER_OTLP_ENDPOINT is set, nothing otherwise."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

TRACER = trace.get_tracer("decant")
KEY = re.compile(r"dcnt_\w*")
HIDDEN = "REDACTED"


class RedactingSpanProcessor(SpanProcessor):
    """Takes out of spans what FastAPI notes of an address: keys that do not belong there, and values."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Changes the span before anybody else sees it."""
        facts = span.attributes or {}
        if query := facts.get("url.query"):
            names = [(hide_keys(name), HIDDEN) for name, _ in parse_qsl(str(query), keep_blank_values=True)]
            span.set_attribute("url.query", urlencode(names))
        if path := facts.get("url.path"):
            span.set_attribute("url.path", hide_keys(str(path)))


def hide_keys(text: str) -> str:
    """A text without the keys in it: the content of an address is shown and stored in many places."""
    return KEY.sub(HIDDEN, text) if "dcnt_" in text else text


@contextmanager
def open_telemetry(service: str) -> Iterator[None]:
    """Exports spans while the context lasts; what is pending is sent at its end."""
    if not (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        yield
        return
    # Every command comes by here, and few export: the import takes a tenth of a second.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    ratio = TraceIdRatioBased(float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1.0")))
    # A caller's `sampled` flag is a stranger's wish: only our own ratio decides what is kept.
    sampler = ParentBased(ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio)
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", service)})
    provider = TracerProvider(resource=resource, sampler=sampler)
    provider.add_span_processor(RedactingSpanProcessor())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def exports_spans() -> bool:
    """Whether anybody gets the spans that are made here."""
    return isinstance(trace.get_tracer_provider(), TracerProvider)


def traceresponse() -> str:
    """The trace id in a response header (W3C Trace Context, level 2); a generated id without tracing."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    # An id, not a secret: asking the system for better chance would cost more than the rest of the header.
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-00"


def current_trace_id() -> str | None:
    """The id of the trace in which this runs, 32 hexadecimal digits, or None."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
