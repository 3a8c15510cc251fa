"""The connections of a process: how many there may be, and how many bytes may wait for their readers.

Both are bounded by callers and in all, so that nobody's slowness costs another's answer. A connection that waits for
its client is the first to go: idle ones, then those of the caller that holds the most.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import resource
import termios
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from starlette.types import Scope

from api.auth.identify import caller_name
from api.http.client_address import is_trusted, name_address, parse_address
from api.http.security_events import note_event
from runtime.settings.settings import Settings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

SWEEP_SECONDS = 1.0
MOST_CONNECTIONS = 10_000
LEAST_CONNECTIONS = 16
SPARE_FILES = 64  # for what is not counted: libraries, logs, sockets that are being turned away
FILES_OF_EXPORT = 8
TURNED_AWAY_AT_ONCE = 32
IDLE = "connection_idle"


def connections_limit(settings: Settings) -> int:
    """How many connections a process may hold, so that files are left for the database and for exports."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections_limit or MOST_CONNECTIONS
    if files == resource.RLIM_INFINITY:
        return wanted
    pools = settings.read_pool_size + settings.write_pool_size
    spare = max(SPARE_FILES + pools + FILES_OF_EXPORT * settings.exports_at_once, files // 8)
    return min(wanted, max(files - spare, LEAST_CONNECTIONS))


class HeldConnection(Protocol):
    """What the connections of a process have to say of themselves."""

    client: tuple[str, int] | None
    transport: asyncio.Transport
    address: str  # of the peer
    caller: str  # who the last answer was for
    turned_away: bool  # whether it was rejected at once, and the rejection is being sent
    sent: int  # bytes of bodies that were written
    taken: int  # of them, those that the reader had when it was last looked at
    stalled_since: float

    @property
    def waits_for_client(self) -> bool:
        """Whether its peer is the one to go on."""


class Connections:
    """All connections of this process; each is a BoundedProtocol."""

    def __init__(self, settings: Settings, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.limit = connections_limit(settings)
        self.timeout = settings.send_timeout_seconds
        self.bytes_of_caller = settings.send_caller_bytes
        self.bytes_of_all = settings.send_bytes
        self.trusted = [ipaddress.ip_network(text) for text in settings.trusted_proxies]
        self.open: dict[HeldConnection, None] = {}  # the oldest first
        self.idle: dict[HeldConnection, None] = {}  # between requests, the longest first
        self.pending: dict[HeldConnection, None] = {}  # with bytes that their readers have not taken
        self.by_address: Counter[str] = Counter()
        self.turned_away = 0  # whose rejection is still being sent
        self.sweeping: TimerHandle | None = None

    def admit(self, connection: HeldConnection) -> bool:
        """Takes a connection in, where need be in the place of another one; False where it must go."""
        connection.address = address = name_address((connection.client or ("",))[0])
        if len(self.open) >= self.limit and not self.make_room(address):
            return False
        self.open[connection] = None
        self.by_address[address] += 1
        if self.sweeping is None:
            self.sweeping = self.loop.call_later(SWEEP_SECONDS, self.sweep)
        return True

    def leave(self, connection: HeldConnection) -> None:
        """Forgets a connection that has ended."""
        self.idle.pop(connection, None)
        self.pending.pop(connection, None)
        if connection.turned_away:
            connection.turned_away = False
            self.turned_away -= 1
        if connection in self.open:
            del self.open[connection]
            self.by_address[connection.address] -= 1
            if self.by_address[connection.address] <= 0:
                del self.by_address[connection.address]

    def make_room(self, address: str) -> bool:
        """Ends a connection so that one more of an address has room; False where none is to end for it."""
        if self.idle:
            # A client that keeps one open between requests opens another with the next.
            self.end(next(iter(self.idle)), IDLE)
            return True
        if not self.by_address:
            return False
        most, number = self.by_address.most_common(1)[0]
        peer = parse_address(most)
        if number <= self.by_address[address] + 1 or (peer is not None and is_trusted(peer, self.trusted)):
            return False  # its callers share one address: none of them is known to hold more than another
        waiting = (c for c in self.open if c.address == most and (c.waits_for_client or c in self.pending))
        chosen = next(waiting, None)
        if chosen is None:
            return False
        self.end(chosen, "connection_share")
        return True

    def end(self, connection: HeldConnection, reason: str) -> None:
        """Ends a connection at once, with what it has not taken."""
        self.leave(connection)
        if reason == IDLE:
            connection.transport.close()
            return
        note_event(reason, address=connection.address)
        connection.transport.abort()

    def waiting(self) -> dict[str, int]:
        """Bytes that wait, by caller."""
        found: dict[str, int] = {}
        for connection in tuple(self.pending):
            size = connection.transport.get_write_buffer_size()
            if size:
                found[connection.caller] = found.get(connection.caller, 0) + size
            else:
                del self.pending[connection]
        return found

    def may_send(self, connection: HeldConnection, scope: Scope, length: int) -> bool:
        """Whether an answer of this length may be sent; room is made by ending who takes nothing.

        A caller's first answer always may, however long it is: no setting makes a page unreachable.
        """
        if not self.pending:
            return True
        connection.caller = caller_name(scope, self.trusted)
        waiting = self.waiting()
        mine = waiting.get(connection.caller, 0)
        if mine and mine + length > self.bytes_of_caller:
            return False
        total = sum(waiting.values())
        while total and total + length > self.bytes_of_all:
            stalled = min(self.pending, key=lambda other: other.stalled_since or self.loop.time())
            if not stalled.stalled_since or self.loop.time() - stalled.stalled_since < 2 * SWEEP_SECONDS:
                return False  # a reader that takes its bytes
            total -= stalled.transport.get_write_buffer_size()
            self.end(stalled, "reader_stalled")
        return True

    def note_pending(self, connection: HeldConnection, scope: Scope) -> None:
        """Notes that bytes wait for a connection's reader."""
        connection.caller = caller_name(scope, self.trusted)
        self.pending[connection] = None

    def sweep(self) -> None:
        """Ends connections whose readers have taken nothing for too long."""
        self.sweeping = self.loop.call_later(SWEEP_SECONDS, self.sweep) if self.open else None
        now = self.loop.time()
        for connection in tuple(self.open):
            size = connection.transport.get_write_buffer_size()
            if not size:
                connection.stalled_since = 0.0
                self.pending.pop(connection, None)
                continue
            self.pending[connection] = None
            taken = connection.sent - size - unacknowledged(connection.transport)
            if not connection.stalled_since or taken != connection.taken:
                connection.taken, connection.stalled_since = taken, now
            elif now - connection.stalled_since >= self.timeout:
                self.end(connection, "reader_stalled")

    def close(self) -> None:
        """Stops sweeping."""
        if self.sweeping is not None:
            self.sweeping.cancel()
            self.sweeping = None


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Bytes that the system holds for a reader; 0 where it is unknown.

    The system makes room in large steps: without this, a slow reader would look like one that takes nothing.
    """
    socket = transport.get_extra_info("socket")
    try:
        answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, AttributeError, ValueError):
        return 0
    return int.from_bytes(answer, "little")
