"""HTTP client: one request and its whole response, with limits on redirects, retries and size.

What passes by itself (no connection, a time limit, 429, 5xx, a body that breaks off) is tried again, a little later
each time and no sooner than the server says; a long wait is left to the ledger. Answers lie in files without a name,
so that one which breaks off leaves nothing behind, and the memory does not grow with them.
"""

from __future__ import annotations

import logging
import re
import ssl
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import IO, TypeVar

import httpcore
import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from catalog.model.sources import HttpSource
from ingest.errors import SourceError, SourceMissingError, SourceTooLargeError, SourceUnavailableError
from ingest.http_client.guarded_network import CheckedBackend, Deadline, Resolver
from ingest.http_client.waits import describe_wait, read_wait
from runtime.trusted_roots import trust_context

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 30.0  # seconds without a byte
FIRST_WAIT = 1.0  # seconds before the second try; doubled for each further one
LONGEST_WAIT = 60.0  # seconds
LONGEST_IN_PROCESS = 300.0  # seconds; a longer wait is the ledger's: no worker sits through it
MAX_REDIRECTS = 5
MEMORY_BYTES = 1 << 20  # of a larger answer, the rest lies on disk
PIECE_BYTES = 1 << 18  # how much is unpacked at once
RATIO_LIMIT = 100  # an answer may unpack to this many times its size
RATIO_FLOOR_BYTES = 10_000_000  # below it, the ratio does not matter
TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529)
REDIRECTS = (301, 302, 303, 307, 308)
GOOD_STATUSES = (200, 203, 204)
HEADER_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What may go along to another server than the contract's: nothing that says who asks.
CONDITIONS = ("if-none-match", "if-modified-since")
HARMLESS_HEADERS = ("accept", "accept-encoding", "user-agent", *CONDITIONS)
Inspected = TypeVar("Inspected")


class TransientFailure(SourceUnavailableError):  # noqa: N818 - not every one ends as an error
    """The request failed in a way that may pass."""


@dataclass(frozen=True)
class ApiRequest:
    """What is asked for."""

    name: str  # what a person would call it
    method: str
    url: httpx.URL
    headers: dict[str, str]
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """The response, whole and decompressed."""

    status: int
    headers: httpx.Headers
    url: httpx.URL  # behind all redirects
    body: IO[bytes]
    size: int


class ApiClient:
    """Asks one API."""

    def __init__(
        self, source: HttpSource, location: httpx.URL, folder: Path, find_addresses: Resolver | None = None
    ) -> None:
        # Its trace repeats what servers say, which may be what they were sent.
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        self.source = source
        self.location = location
        self.folder = folder  # for answers that are too large for the memory
        self.deadline = Deadline()
        self.next_at = 0.0
        self.pool = httpcore.ConnectionPool(
            ssl_context=trust_context(),
            max_connections=4,
            keepalive_expiry=30,
            network_backend=CheckedBackend(frozenset(self.own_places()), self.deadline, find_addresses),
        )

    def close(self) -> None:
        """Ends all connections."""
        self.pool.close()

    def own_places(self) -> Iterator[tuple[str, int]]:
        """Host and port of the contract's own server; that of its encrypted twin too."""
        yield self.location.raw_host.decode(), port_of(self.location)
        if self.location.scheme == "http" and port_of(self.location) == 80:
            yield self.location.raw_host.decode(), 443

    def is_own(self, url: httpx.URL) -> bool:
        """Whether an address is on the contract's own server, and no less encrypted."""
        place = (url.raw_host.decode(), port_of(url))
        return place in set(self.own_places()) and (url.scheme == "https" or self.location.scheme == "http")

    def fetch(
        self, request: ApiRequest, limit: int, inspect: Callable[[Answer], Inspected]
    ) -> tuple[Answer, Inspected]:
        """The answer and what `inspect` finds in it; tried again while what goes wrong may pass."""
        tries = Retrying(
            retry=retry_if_exception_type(TransientFailure),
            stop=stop_after_attempt(self.source.retries + 1),
            wait=choose_wait,
            reraise=True,
        )
        try:
            return tries(self.try_once, request, limit, inspect)
        except TransientFailure as failure:
            count = tries.statistics["attempt_number"]
            times = f" ({count} times)" if count > 1 else ""
            raise SourceUnavailableError(f"{failure}{times}", failure.after) from None

    def try_once(
        self, request: ApiRequest, limit: int, inspect: Callable[[Answer], Inspected]
    ) -> tuple[Answer, Inspected]:
        """The answer and what `inspect` finds in it."""
        current = request
        for _ in range(MAX_REDIRECTS + 1):
            self.wait_for_turn()
            with explain(request.name):
                answer = self.send(current, limit)
            if answer.status in REDIRECTS and "location" in answer.headers:
                answer.body.close()
                current = self.follow(request, current, answer)
                continue
            try:
                check_status(request, answer)
                return answer, inspect(answer)
            except BaseException:
                answer.body.close()
                raise
        raise SourceError(f"{request.name} redirects more than {MAX_REDIRECTS} times.")

    def wait_for_turn(self) -> None:
        """Keeps the pace that the contract sets; the time of one answer begins behind that."""
        time.sleep(max(0.0, self.next_at - time.monotonic()))
        self.next_at = time.monotonic() + self.source.pause
        self.deadline.start(self.source.timeout)

    def send(self, request: ApiRequest, limit: int) -> Answer:
        """One answer, redirect or not, its body unpacked into a file."""
        url = request.url
        headers = {"Host": url.netloc.decode(), **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        timeouts = {"connect": CONNECT_TIMEOUT, "read": READ_TIMEOUT, "write": READ_TIMEOUT, "pool": CONNECT_TIMEOUT}
        with self.pool.stream(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[(name.encode("ascii"), text.encode("latin-1")) for name, text in headers.items()],
            content=request.body,
            extensions={"timeout": timeouts},
        ) as response:
            found = httpx.Headers(response.headers)
            body: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(self.folder))  # noqa: SIM115
            try:
                size = 0
                for piece in unpack(response.iter_stream(), found.get("content-encoding", ""), limit):
                    size += len(piece)
                    body.write(piece)
            except BaseException:
                body.close()
                raise
        body.seek(0)
        return Answer(response.status, found, url, body, size)

    def follow(self, request: ApiRequest, current: ApiRequest, answer: Answer) -> ApiRequest:
        """The request that a redirect leads to; SourceError where it may not be followed.

        Whether its host is a public one is checked where the connection is made.
        """
        try:
            target = current.url.join(answer.headers["location"])
        except (httpx.InvalidURL, ValueError):
            raise SourceError(f"{request.name} redirects to an invalid address.") from None
        if target.scheme not in {"http", "https"} or not target.host or target.userinfo:
            raise SourceError(f"{request.name} redirects to an address that is not plain http or https.")
        if current.url.scheme == "https" and target.scheme == "http":
            raise SourceError(f"{request.name} redirects from https to http, which is not encrypted.")
        method, body, headers = current.method, current.body, current.headers
        if answer.status == 303 or (answer.status in {301, 302} and method == "POST"):
            method, body = "GET", None
        if not self.is_own(target):
            if body is not None:
                raise SourceError(f"{request.name} redirects to another server, which must not receive the body.")
            headers = {name: text for name, text in headers.items() if name.lower() in HARMLESS_HEADERS}
        if body is None:
            headers = {name: text for name, text in headers.items() if name.lower() != "content-type"}
        return replace(current, method=method, url=target, headers=headers, body=body)


@contextmanager
def explain(name: str) -> Iterator[None]:
    """Turns the errors of a connection into ours; their own words are not passed on, they may repeat secrets."""
    try:
        yield
    except httpcore.TimeoutException:
        raise TransientFailure(f"{name} timed out.") from None
    except httpcore.ConnectError as error:
        if isinstance(error.__context__, ssl.SSLCertVerificationError):
            raise SourceError(f"{name} has an invalid certificate.") from None
        raise TransientFailure(f"{name} cannot be reached.") from None
    except (httpcore.NetworkError, httpcore.RemoteProtocolError, zlib.error, EOFError):
        raise TransientFailure(f"{name} was interrupted, or is not valid HTTP.") from None
    except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, UnicodeError):
        raise SourceError(f"{name} is not a valid request.") from None


def port_of(url: httpx.URL) -> int:
    """The port that an address means."""
    return url.port or (443 if url.scheme == "https" else 80)


def unpack(chunks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """The body's bytes, unpacked piece by piece.

    SourceTooLargeError past the limits; EOFError where it breaks off.
    """
    encoding = encoding.strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise SourceError(f"The response has the encoding {encoding[:40]!r}, but only gzip was requested.")
    is_packed = encoding.endswith("gzip")
    packed = size = 0

    def count() -> Iterator[bytes]:
        nonlocal packed
        for chunk in chunks:
            packed += len(chunk)
            yield chunk

    for piece in gunzip(count()) if is_packed else chunks:
        size += len(piece)
        if size > limit or (is_packed and size > max(packed * RATIO_LIMIT, RATIO_FLOOR_BYTES)):
            raise SourceTooLargeError
        yield piece


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip has packed, in one member or several, never much of it at once."""
    unpacker = zlib.decompressobj(wbits=31)
    begun = False
    for chunk in chunks:
        rest = chunk
        while rest:
            begun = True
            if piece := unpacker.decompress(rest, PIECE_BYTES):
                yield piece
            rest = unpacker.unconsumed_tail
            if unpacker.eof:
                rest, begun = unpacker.unused_data, False
                unpacker = zlib.decompressobj(wbits=31)
    if begun:
        raise EOFError


def check_status(request: ApiRequest, answer: Answer) -> None:
    """Nothing where the answer is good; else the error that says what was answered."""
    status = answer.status
    asked = {name.lower() for name in request.headers}
    if status in GOOD_STATUSES or (status == 304 and asked.intersection(CONDITIONS)):
        return
    phrase = next((f" {known.phrase}" for known in HTTPStatus if known == status), "")
    said = f"{request.name} answered {status}{phrase}"
    after = read_wait(answer.headers)
    # 403 is also how some servers say that a limit is used up: then they say when it is not.
    if status in TRANSIENT_STATUSES or (status == 403 and after is not None):
        if after is not None and after > LONGEST_IN_PROCESS:
            raise SourceUnavailableError(f"{said}, and {describe_wait(after)}.", after)
        raise TransientFailure(f"{said}.", after)
    if status in {404, 410}:
        raise SourceMissingError(f"{said}.")
    if status in {401, 403, 407}:
        raise SourceError(f"{said}: the headers of the input need a credential with access.")
    raise SourceError(f"{said}.")


def choose_wait(state: RetryCallState) -> float:
    """The seconds until the next try: twice as long each time, never all at once, no sooner than the server says."""
    failure = state.outcome.exception() if state.outcome else None
    after = failure.after if isinstance(failure, TransientFailure) else None
    grown = wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT)
    return max(after or 0.0, grown(state))
