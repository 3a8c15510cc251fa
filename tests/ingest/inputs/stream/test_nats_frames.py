"""Frames of a NATS server, cut out of what it sends however that is split."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.inputs.stream.messages import Message
from ingest.inputs.stream.nats import make_run
from ingest.inputs.stream.nats_frames import FrameParser, Request
from tests.support.examples import examples

REPLY = b"$JS.ACK.s.c.1.%d.1.1700000000123000000.0"
HEADERS = b"NATS/1.0\r\nA: 1\r\nA: 2\r\nodd name \xff:x:y \r\n\r\n"
GONE = b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"
NO_MORE = b"NATS/1.0 404 No Messages\r\n\r\n"


def message(sid: int, sequence: int, payload: bytes, headers: bytes = b"") -> bytes:
    """A message as the server writes it."""
    place = b"a.b %d %b" % (sid, REPLY % sequence)
    if not headers:
        return b"MSG %b %d\r\n%b\r\n" % (place, len(payload), payload)
    return b"HMSG %b %d %d\r\n%b%b\r\n" % (place, len(headers), len(headers) + len(payload), headers, payload)


@dataclass
class Library:
    """What the library's parser calls."""

    others: list[tuple[int, bytes]] = field(default_factory=list)
    pings: int = 0
    errors: list[str] = field(default_factory=list)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, header: bytes | None) -> None:
        self.others.append((sid, data))

    async def _process_ping(self) -> None:
        self.pings += 1

    async def _process_err(self, text: str) -> None:
        self.errors.append(text)

    async def _process_info(self, info: object) -> None:
        """Nothing."""


SENT = b"".join(
    [
        b'INFO {"max_payload": 1}\r\n',
        message(7, 1, b'{"id": 1}'),
        b"PING\r\n",
        message(8, 1, b"of another\r\nMSG a 7 b 1\r\n"),
        message(7, 2, b"MSG a.b 7 x 5\r\nPING\r\n", HEADERS),
        b"-ERR 'Permissions Violation'\r\n",
        message(7, 3, b"", GONE),
        message(7, 4, b"\x00\r\n"),
        b"HMSG inbox 7 %d %d\r\n%b\r\n" % (len(NO_MORE), len(NO_MORE), NO_MORE),
        message(7, 5, b"too late"),
    ]
)
FOUND = [
    Message(0, 1, b"a.b", b'{"id": 1}', 1_700_000_000_123, []),
    Message(
        0,
        2,
        b"a.b",
        b"MSG a.b 7 x 5\r\nPING\r\n",
        1_700_000_000_123,
        [("A", b"1"), ("A", b"2"), ("odd name �", b"x:y")],
    ),
    Message(0, 3, b"a.b", None, 1_700_000_000_123, [("KV-Operation", b"DEL")]),
    Message(0, 4, b"a.b", b"\x00\r\n", 1_700_000_000_123, []),
]


@given(st.lists(st.integers(0, len(SENT)), max_size=40))
@settings(max_examples=examples(200))
def test_frames_are_the_same_however_they_are_split(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SENT)]

    async def parse() -> tuple[Library, Request]:
        library = Library()
        parser = FrameParser(library)
        parser.request = request = Request(7, 100)
        for begin, end in pairwise(places):
            await parser.parse(SENT[begin:end])
            if request.over.is_set():
                parser.request = None  # as whoever waited for it does
        assert parser.left == b""
        return library, request

    library, request = asyncio.run(parse())
    run = make_run(request)
    assert [run.get(index) for index in range(len(FOUND))] == FOUND
    assert request.over.is_set()
    late = [] if len(request.payloads) == 5 else [(7, b"too late")]
    assert library.others == [(8, b"of another\r\nMSG a 7 b 1\r\n"), *late]
    assert (library.pings, library.errors) == (1, ["'permissions violation'"])


PAYLOADS = st.sampled_from(
    [b"{}", b"", b"\r\n", b"\r", b"a\r\nb", message(7, 9, b"x"), message(7, 9, b"x")[:-2], b"x" * 99]
)


@given(st.lists(st.tuples(PAYLOADS, st.sampled_from([b"", HEADERS])), max_size=9), st.integers(1, 200))
@settings(max_examples=examples(200))
def test_blocks_hold_the_messages_that_were_sent(sent: list[tuple[bytes, bytes]], step: int) -> None:
    stream = b"".join(message(7, place, payload, headers) for place, (payload, headers) in enumerate(sent))

    async def parse() -> Request:
        parser = FrameParser(Library())
        parser.request = request = Request(7, 100)
        for begin in range(0, len(stream), step):
            await parser.parse(stream[begin : begin + step])
        assert parser.left == b""
        return request

    request = asyncio.run(parse())
    assert [(payload, request.headers.get(place, b"")) for place, payload in enumerate(request.payloads)] == sent
    assert list(make_run(request).offsets) == list(range(len(sent)))


@pytest.mark.parametrize("place", [b"s.c.1.77.1.%d.0", b"domain.account.s.c.1.77.1.%d.0.token"])
def test_the_place_of_a_message_is_found_in_addresses_of_both_forms(place: bytes) -> None:
    request = Request(7, 100)
    request.take([b"MSG", b"a.b", b"7", b"$JS.ACK." + place % 1_700_000_000_123_000_000, b"2"], b"{}")
    assert make_run(request).get(0) == Message(0, 77, b"a.b", b"{}", 1_700_000_000_123, [])


def test_a_request_is_over_at_its_number() -> None:
    async def parse() -> Request:
        parser = FrameParser(Library())
        parser.request = request = Request(7, 2)
        await parser.parse(message(7, 1, b"a"))
        assert not request.over.is_set()
        await parser.parse(message(7, 2, b"b"))
        return request

    request = asyncio.run(parse())
    assert request.over.is_set()
    assert request.payloads == [b"a", b"b"]
