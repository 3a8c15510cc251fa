"""NATS JetStream: a consumer that the server forgets, made for each batch, without acknowledgements.

The client is asynchronous; its loop runs while it is asked something, and rests between batches. A stream has one
partition here, 0, whose offsets are the stream's sequences. Reading from a sequence that was deleted skips on
silently, so what is missing is compared with what the server says it keeps.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Coroutine, Generator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import orjson
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import AuthorizationError, Error, NoServersError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg, StreamInfo
from nats.js.errors import APIError, NotFoundError

from catalog.model.sources import StreamSource
from ingest.errors import SourceError, SourceMissingError, SourceUnavailableError
from ingest.inputs.stream.messages import Message, Offsets, Run, Span, StreamState
from ingest.inputs.stream.nats_frames import FrameParser, Request, read_headers
from runtime.plain_text import plain

PARTITION = 0
SHOWN_CHARACTERS = 200  # of what the server says
ASK_SECONDS = 8.0
SILENT_SECONDS = 10.0  # without a message, in the middle of a batch
PAUSE_SECONDS = 0.01  # before a consumer that has none is asked again
PULL_SECONDS = 60.0  # for all messages of one request
MESSAGES_AT_ONCE = 10_000
BYTES_AT_ONCE = 64 << 20  # the largest message that a server takes
# Of the messages before, where the next ones are asked for early: a server ends a connection whose reader is slow.
AHEAD_BYTES = 8 << 20
NEXT = "$JS.API.CONSUMER.MSG.NEXT.{}.{}"
LONG_ADDRESS = 11  # parts of an address with a domain
SEQUENCE, NANOSECONDS = 5, 7  # places among the parts of an address without one
FORGOTTEN_SECONDS = 30.0  # after which the server removes a consumer that nobody asks
DELETED = ("KV-Operation", b"DEL"), ("KV-Operation", b"PURGE")  # headers of a deletion in a key-value bucket
Answer = TypeVar("Answer")


class Pull(NamedTuple):
    """Messages that were asked for, and the subscription that they come by."""

    request: Request
    subscription: Subscription


class NatsClient:
    """A connection to a server, and one of its streams."""

    def __init__(self, source: StreamSource) -> None:
        self.source = source
        self.loop = asyncio.new_event_loop()
        self.connection: Client | None = None
        self.parser = FrameParser(None)  # of the connection

    def look(self) -> StreamState:
        """What the stream holds now, of the subjects that are read."""
        return self.run(self.find_state())

    def find(self, moment: datetime) -> dict[int, int]:
        """The first sequence whose message is not older; none where there is none."""
        first = self.run(self.find_first(moment))
        return {} if first is None else {PARTITION: first}

    def read(self, starts: Offsets, ends: Offsets) -> Generator[Run]:
        """The messages between the sequences, some at a time."""
        start, end = starts[PARTITION], ends[PARTITION]
        before = self.look().partitions[PARTITION].first
        consumer = self.run(self.make_consumer(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start))
        expected, missing, heard_at = start, None, time.monotonic()
        ahead: Pull | None = None
        try:
            while expected < end:
                pull = ahead or self.run(self.ask(consumer, MESSAGES_AT_ONCE))
                run = self.run(self.take(pull), PULL_SECONDS)
                goes_on = bool(run.offsets) and run.offsets[-1] + 1 < end and pull.request.size <= AHEAD_BYTES
                # The server sends the next messages while these are used.
                ahead = self.run(self.ask(consumer, MESSAGES_AT_ONCE)) if goes_on else None
                if (wanted := run.until(end)).offsets:
                    heard_at = time.monotonic()
                    for index, gap in wanted.gaps(expected)[:1] if missing is None else ():
                        missing = wanted.offsets[index] - gap
                    yield wanted
                expected = run.offsets[-1] + 1 if run.offsets else expected
                if time.monotonic() - heard_at > SILENT_SECONDS:
                    raise SourceUnavailableError(f"{self.source.server} does not answer (no message in time).")
            if missing is not None and before <= missing < self.look().partitions[PARTITION].first:
                raise SourceUnavailableError(f"Messages of {self.source.topic} were deleted while they were read.")
        finally:
            with suppress(SourceError):
                self.run(self.remove_consumer(consumer))

    def publish(self, subject: str, body: bytes, headers: dict[str, str], seconds: float) -> None:
        """Publishes a message that a stream must keep; the library's own error where none says so in time."""

        async def acknowledged() -> None:
            await (await self.jetstream()).publish(subject, body, headers=headers, timeout=seconds)

        self.complete(acknowledged(), seconds)

    def complete(self, question: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
        """What the server answers in time; the library's own error where it does not."""
        return self.loop.run_until_complete(asyncio.wait_for(question, seconds))

    def run(self, question: Coroutine[Any, Any, Answer], seconds: float = ASK_SECONDS + 1) -> Answer:
        """What the server answers; SourceError where it does not."""
        try:
            return self.complete(question, seconds)
        except NotFoundError:
            raise SourceMissingError(
                f"The stream {self.source.topic!r} does not exist at {self.source.server}."
            ) from None
        except AuthorizationError:
            raise SourceError(f"{self.source.server} denies access to {self.source.topic!r}.") from None
        except (Error, APIError, NoServersError, OSError, TimeoutError) as error:
            if "authorization" in str(error).lower() or "permissions violation" in str(error).lower():
                raise SourceError(f"{self.source.server} denies access to {self.source.topic!r}.") from None
            said = plain(str(error), SHOWN_CHARACTERS) or "no answer in time"
            raise SourceUnavailableError(f"{self.source.server} does not answer ({said}).") from None

    async def jetstream(self) -> JetStreamContext:
        """The stream's interface, connected."""
        return (await self.connected()).jetstream(timeout=ASK_SECONDS)

    async def connected(self) -> Client:
        """The connection; a new one where it is lost."""
        if self.connection is None or not self.connection.is_connected:
            await self.disconnect()
            self.connection = await self.connect()
        return self.connection

    async def connect(self) -> Client:
        """A new connection; the library's own error of the last attempt where there is none."""
        source = self.source
        problems: list[Exception] = []

        async def note(error: Exception) -> None:
            problems.append(error)

        tls = ssl.create_default_context(cafile=source.ca) if "tls://" in source.hosts else None
        given: dict[str, Any] = {"user": source.user, "password": source.password, "token": source.token, "tls": tls}
        connection = Client()
        connection._ps = self.parser = FrameParser(connection)
        try:
            await connection.connect(
                source.hosts.split(","),
                name="decant",
                error_cb=note,
                allow_reconnect=False,
                connect_timeout=5,
                **{name: value for name, value in given.items() if value is not None},
            )
        except BaseException as error:
            await cut(connection)  # the client's own `close` waits for what is not there yet
            if isinstance(error, NoServersError) and problems:
                raise problems[-1] from None
            raise
        return connection

    async def find_state(self) -> StreamState:
        """The stream's first sequence, and the one after its last message of the subjects that are read."""
        stream = await self.jetstream()
        info: StreamInfo = await stream.stream_info(self.source.topic)
        end = info.state.last_seq + 1
        if self.source.subject is not None:
            try:
                last: RawStreamMsg = await stream.get_last_msg(self.source.topic, self.source.subject)
                end = int(last.seq or 0) + 1
            except NotFoundError:
                end = info.state.first_seq
        first = min(max(info.state.first_seq, 1), max(end, 1))
        created = info.created.astimezone(UTC).isoformat() if info.created else None
        return StreamState(created, {PARTITION: Span(first, max(end, 1))})

    async def make_consumer(self, **where: Any) -> str:
        """The name of a new consumer, which begins there and waits for no acknowledgement."""
        stream = await self.jetstream()
        subject: dict[str, Any] = {"filter_subject": self.source.subject} if self.source.subject is not None else {}
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE, inactive_threshold=FORGOTTEN_SECONDS, mem_storage=True, **subject, **where
        )
        return (await stream.add_consumer(self.source.topic, config)).name

    async def remove_consumer(self, name: str) -> None:
        """Has the server forget a consumer now."""
        await (await self.jetstream()).delete_consumer(self.source.topic, name)

    async def ask(self, consumer: str, number: int) -> Pull:
        """Asks for the consumer's next messages, at most so many; the server has the request on return."""
        connection = await self.connected()
        inbox = connection.new_inbox()
        subscription = await connection.subscribe(inbox)
        request = self.parser.request = Request(subscription._id, number)
        wanted = orjson.dumps({"batch": number, "max_bytes": BYTES_AT_ONCE, "no_wait": True})
        await connection.publish(NEXT.format(self.source.topic, consumer), wanted, reply=inbox)
        await connection.flush(int(ASK_SECONDS))
        return Pull(request, subscription)

    async def take(self, pull: Pull) -> Run:
        """The messages that were asked for; none where the consumer has none at the moment."""
        try:
            await pull.request.wait(ASK_SECONDS)
        finally:
            self.parser.request = None
            await pull.subscription.unsubscribe()
        if not pull.request.payloads:
            await asyncio.sleep(PAUSE_SECONDS)
        return make_run(pull.request)

    async def find_first(self, moment: datetime) -> int | None:
        """The sequence of the first message that is not older."""
        consumer = await self.make_consumer(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=moment)
        try:
            found = await self.take(await self.ask(consumer, 1))
            return found.offsets[0] if found.offsets else None
        finally:
            await self.remove_consumer(consumer)

    async def disconnect(self) -> None:
        """Ends the connection."""
        if self.connection is not None:
            with suppress(Exception):
                await self.connection.close()
            await cut(self.connection)
        self.connection = None

    def close(self) -> None:
        """Closes the connection and its loop."""
        with suppress(Exception):
            self.loop.run_until_complete(asyncio.wait_for(self.disconnect(), 2))
        self.loop.close()


async def cut(connection: Client) -> None:
    """Closes the socket of a connection now: what the client leaves to later does not run once the loop rests."""
    bare = getattr(connection._transport, "_bare_io_writer", None)  # below TLS
    if bare is not None:
        bare.transport.abort()
        await asyncio.sleep(0)  # in which the loop does it


def make_run(request: Request) -> Run:
    """The messages that came; what is marked as deleted has no value."""
    sequences = read_sequences(request.replies)
    values: list[bytes | None] = [*request.payloads]
    for place, headers in request.headers.items():
        if any(header in DELETED for header in read_headers(headers)):
            values[place] = None

    def get(index: int) -> Message:
        [nanoseconds] = read_places([request.replies[index]], NANOSECONDS)
        headers = read_headers(request.headers.get(index, b""))
        subject = request.subjects[index]
        return Message(PARTITION, sequences[index], subject, values[index], nanoseconds // 1_000_000, headers)

    return Run(PARTITION, sequences, values, get)


def read_sequences(replies: Sequence[bytes]) -> Sequence[int]:
    """The sequences of a consumer's messages, which ascend."""
    ends = read_places([*replies[:1], *replies[-1:]], SEQUENCE)
    if ends and ends[1] - ends[0] == len(replies) - 1:
        return range(ends[0], ends[1] + 1)
    return read_places(replies, SEQUENCE)


def read_places(replies: Sequence[bytes], place: int) -> list[int]:
    """One number of each message of a consumer, from the addresses that they would be acknowledged at.

    $JS.ACK.[domain.account.]stream.consumer.delivered.sequence.consumer sequence.nanoseconds.pending[.token]
    """
    if not replies:
        return []
    parts = b".".join(replies).split(b".")
    width = replies[0].count(b".") + 1  # the same of all that come from one consumer
    return list(map(int, parts[place if width < LONG_ADDRESS else place + 2 :: width]))
