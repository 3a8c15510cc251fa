"""Clients of brokers, kept between batches: a new one costs a third of a second."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from catalog.model.sources import StreamSource
from ingest.errors import SourceError
from ingest.inputs.kept import KeptConnections
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.stream.messages import StreamClient
from ingest.inputs.variables import VariableExpander

BROKERS = {"kafka": "confluent_kafka", "nats": "nats"}  # by the name of the extra that has its client

Decode = Callable[[bytes], bytes]
KEPT: KeptConnections[StreamSource, StreamClient] = KeptConnections()


@contextmanager
def borrow_client(context: InputContext) -> Iterator[tuple[StreamClient, Decode | None]]:
    """A client of the dataset's stream, and what makes JSON of its values; SourceError where there is none."""
    source = fill_in(context)
    with KEPT.lend(source, lambda: open_client(source)) as client:
        yield client, choose_decoder(source, context)


def fill_in(context: InputContext) -> StreamSource:
    """The stream with its variables filled in; SourceError where one is closed, or not set."""
    source, expander = context.source.source, VariableExpander(context.permits)
    if not isinstance(source, StreamSource):
        raise SourceError("The input is not a stream.")
    names = ("hosts", "topic", "subject", "user", "password", "token", "ca", "registry")
    written = {name: getattr(source, name) for name in names}
    filled: dict[str, Any] = {name: expander.expand(text) for name, text in written.items() if text is not None}
    if (ca := filled.get("ca")) is not None and (problem := context.permits.refuse_path(ca)):
        raise SourceError(f"The file of the certificate authority {problem}.")
    return replace(source, **filled)


def open_client(source: StreamSource) -> StreamClient:
    """A new client; SourceError where its library is not installed."""
    try:
        importlib.import_module(BROKERS[source.broker])
    except ImportError:
        raise SourceError(
            f"{source.broker} needs a library that is not installed: pip install 'decant-data[{source.broker}]'."
        ) from None
    if source.broker == "kafka":
        from ingest.inputs.stream.kafka import KafkaClient

        return KafkaClient(source)
    from ingest.inputs.stream.nats import NatsClient

    return NatsClient(source)


def choose_decoder(source: StreamSource, context: InputContext) -> Decode | None:
    """What makes JSON of Avro, where the stream has a registry; None for other formats."""
    if source.registry is None:
        return None
    from ingest.inputs.stream.avro import make_decoder

    return make_decoder(source.registry)
