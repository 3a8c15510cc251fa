"""SSRF guard: connections only to the contract's own server and to public addresses.

For each connection a name is resolved once, its addresses are checked, and one of those is connected to: a name that
means something else a moment later leads nowhere. The contract's own server may be anywhere, and stays where it was
found first: a public name leads to public addresses only, that of this machine never to another network. Certificates
are still checked against the name. Every connection ends at its deadline, however slowly the other side drips.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable

import httpcore

from ingest.errors import SourceError
from runtime.public_addresses import PUBLIC, Address, describe

Resolver = Callable[[str, int], list[Address]]


class AddressRefusedError(SourceError):
    """The address is not one that may be connected to."""

    code = "address_refused"


class Deadline:
    """When what runs now must be over."""

    def __init__(self) -> None:
        self.end = float("inf")

    def start(self, seconds: float) -> None:
        """Gives the next so many seconds."""
        self.end = time.monotonic() + seconds

    def shorten(self, timeout: float | None) -> float:
        """The timeout, or what is left where that is less; httpcore.ReadTimeout where nothing is."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(timeout, left)


class TimedStream(httpcore.NetworkStream):
    """A connection that knows its deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self.stream = stream
        self.deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes."""
        return self.stream.read(max_bytes, self.deadline.shorten(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends some bytes."""
        self.stream.write(buffer, self.deadline.shorten(timeout))

    def close(self) -> None:
        """Ends the connection."""
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The connection, encrypted."""
        secure = self.stream.start_tls(ssl_context, server_hostname, self.deadline.shorten(timeout))
        return TimedStream(secure, self.deadline)

    def get_extra_info(self, info: str) -> object:
        """Information about the connection."""
        return self.stream.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Opens connections to `own` servers where they were found first, and to others where they are public."""

    def __init__(
        self, own: frozenset[tuple[str, int]], deadline: Deadline, find_addresses: Resolver | None = None
    ) -> None:
        self.own = own
        self.deadline = deadline
        self.find_addresses = find_addresses or resolve
        self.allowed: dict[str, set[str]] = {}  # by own host, the kinds of addresses that it may have
        self.backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first of the host's addresses that answers."""
        addresses = self.find_addresses(host, port)
        self.check(host.lower(), port, addresses)
        failure: httpcore.NetworkError | httpcore.TimeoutException = httpcore.ConnectError()
        for address in addresses:
            try:
                stream = self.backend.connect_tcp(
                    str(address), port, self.deadline.shorten(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return TimedStream(stream, self.deadline)
        raise failure

    def check(self, host: str, port: int, addresses: list[Address]) -> None:
        """AddressRefusedError where one of the addresses that a host has now is not one that it may have."""
        is_own = (host, port) in self.own
        allowed = self.find_allowed(host, addresses) if is_own else {PUBLIC}
        for address in addresses:
            if (kind := describe(address)) in allowed:
                continue
            if is_own:
                raise AddressRefusedError(
                    f"The contract's own server {host}:{port} resolves to {kind} now, but resolved to"
                    f" {' or '.join(sorted(allowed))} first."
                )
            raise AddressRefusedError(
                f"It leads to {host}:{port}, which is {kind}: only the contract's own server may have such"
                f" an address."
            )

    def find_allowed(self, host: str, addresses: list[Address]) -> set[str]:
        """The kinds of addresses that an own host may have: those that it had first, and none but public ones once
        one was public.
        """
        kinds = {describe(address) for address in addresses}
        return self.allowed.setdefault(host, {PUBLIC} if PUBLIC in kinds else kinds)


def resolve(host: str, port: int) -> list[Address]:
    """The host's addresses, in the order in which they are to be tried; httpcore.ConnectError where it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError from error
    return [ipaddress.ip_address(address) for address in dict.fromkeys(str(item[4][0]) for item in found)]
