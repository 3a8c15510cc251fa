"""Exports that end midway: a client can tell, and what was read for one that went away stops."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.lab import Lab
from tests.support.sockets import get, serving
from tests.support.waiting import wait_until

EXPORT = b"/data/people/v1/people/export?at=1&format="
LAST_CHUNK = b"0\r\n\r\n"
RUNNING = "FROM pg_stat_activity WHERE application_name = 'decant-export' AND datname = current_database()"


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """People that no buffer between server and client holds all of: about 60 MB."""
    lab = make_lab(exports_at_once=1)
    lab.ingest("people.people", "id,name,age,born\n0,Ann,30,2000-01-01\n")
    lab.rows(
        "INSERT INTO people_v1.people (id, name, _revision)"
        " SELECT id, repeat('x', 200), 1 FROM generate_series(1, 300000) AS id RETURNING NULL"
    )
    return lab


@pytest.fixture
def address(lab: Lab) -> Iterator[tuple[str, int]]:
    with serving(lab) as address:
        yield address


def begin(address: tuple[str, int], form: bytes) -> tuple[socket.socket, bytes]:
    """A connection on which an export has begun, and its head with the first of its body."""
    connection = socket.create_connection(address, timeout=30)
    connection.sendall(get(EXPORT + form, b"Connection: close"))
    data = b""
    while data.count(b"\r\n\r\n") < 1 or len(data) < 50_000:
        data += connection.recv(65_536)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding: chunked" in data.lower()
    return connection, data


def read_rest(connection: socket.socket) -> bytes:
    """What comes until the connection ends, however it does."""
    rest = b""
    with connection:
        while True:
            try:
                piece = connection.recv(1 << 20)
            except ConnectionResetError:
                return rest
            if not piece:
                return rest
            rest = rest[-1000:] + piece


@pytest.mark.slow
@pytest.mark.parametrize("form", [b"csv", b"ndjson", b"arrow"])
def test_an_export_whose_statement_is_ended_midway_has_no_end(
    lab: Lab, address: tuple[str, int], form: bytes
) -> None:
    connection, _ = begin(address, form)
    assert lab.rows(f"SELECT count(pg_terminate_backend(pid)) {RUNNING}") == [(1,)]
    assert not read_rest(connection).endswith(LAST_CHUNK)
    # Beside it, a whole one.
    whole, _ = begin(address, form)
    assert read_rest(whole).endswith(LAST_CHUNK)


@pytest.mark.slow
def test_an_export_that_nobody_waits_for_any_more_stops_and_makes_room(lab: Lab, address: tuple[str, int]) -> None:
    connection, _ = begin(address, b"csv")
    assert lab.rows(f"SELECT count(*) {RUNNING}") == [(1,)]
    refused = socket.create_connection(address, timeout=30)
    with refused:
        refused.sendall(get(EXPORT + b"csv"))
        assert refused.recv(65_536).startswith(b"HTTP/1.1 503 ")
    connection.close()
    wait_until(lambda: lab.rows(f"SELECT count(*) {RUNNING}") == [(0,)])
    again, _ = begin(address, b"csv")
    assert read_rest(again).endswith(LAST_CHUNK)


def test_whoever_stops_reading_makes_room_for_others_in_time(lab: Lab) -> None:
    hasty = Lab(lab.settings.model_copy(update={"export_timeout_seconds": 2}), lab.urls)
    with serving(hasty) as address:
        stalled, _ = begin(address, b"ndjson")
        with stalled:
            wait_until(lambda: answers(address, EXPORT + b"csv&id=0"))
            assert not read_rest(stalled).endswith(LAST_CHUNK)


def answers(address: tuple[str, int], path: bytes) -> bool:
    """Whether a request is answered well."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(get(path, b"Connection: close"))
        return read_rest(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_whoever_leaves_before_the_first_record_leaves_no_statement_either(
    lab: Lab, address: tuple[str, int]
) -> None:
    with psycopg.connect(lab.urls.owner) as holder:
        holder.execute("LOCK TABLE people_v1.people IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(get(EXPORT + b"csv"))
            wait_until(lambda: lab.rows(f"SELECT count(*) {RUNNING} AND wait_event_type = 'Lock'") == [(1,)])
        # The table is still locked: nothing but its end can have ended the statement.
        wait_until(lambda: lab.rows(f"SELECT count(*) {RUNNING}") == [(0,)])
    again, _ = begin(address, b"csv")
    assert read_rest(again).endswith(LAST_CHUNK)
