"""Readers that do not read and callers who hold many connections: real sockets, real processes, small limits."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.lab import Lab
from tests.support.sockets import get, read_answer, serving

DECANT = Path(sys.executable).with_name("decant")
PAGE = get(b"/data/texts/v1/texts/records?limit=1000")
TEXTS = """
apiVersion: v3.1.0
kind: DataContract
id: texts
name: Texts
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: texts
    customProperties:
      - {property: input, value: {server: here, path: texts.csv, mode: snapshot}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: text, logicalType: string}
roles:
  - {role: "texts:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
TRIES = 400


def connect(address: tuple[str, int], source: str = "127.0.0.1", buffer: int = 4096) -> socket.socket:
    """A connection from one of the addresses of this machine, whose end here holds little."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.settimeout(60)
    made.bind((source, 0))
    made.connect(address)
    return made


def status_of(connection: socket.socket) -> int:
    """The status of an answer whose rest is not read."""
    line = b""
    while len(line) < 12 and (piece := connection.recv(12 - len(line))):
        line += piece
    return int(line[9:12] or b"0")


def ask(address: tuple[str, int], source: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """An answer, read whole; status 0 where there was none."""
    with connect(address, source, 1_000_000) as connection:
        try:
            connection.sendall(request)
            return read_answer(connection)
        except ConnectionError:
            return 0, {}, b""


def read_to_end(connection: socket.socket) -> int:
    """How many bytes still came."""
    size = 0
    try:
        while piece := connection.recv(1_000_000):
            size += len(piece)
    except ConnectionError:
        pass
    return size


def make_texts(make_lab: Callable[..., Lab], **settings: object) -> Lab:
    """A product of which one page has 8 MB: more than the system keeps for a reader."""
    lab = make_lab(TEXTS, **settings)
    lines = "".join(f"{n},{chr(97 + n % 26) * 20_000}\n" for n in range(400))
    assert lab.ingest("texts.texts", f"id,text\n{lines}", "texts.csv").status == "published"
    return lab


@pytest.mark.slow
def test_readers_that_never_read_hold_little_and_are_let_go(make_lab: Callable[..., Lab]) -> None:
    lab = make_texts(make_lab, send_timeout_seconds=2, send_caller_bytes=6_000_000)
    with serving(lab) as address, ExitStack() as held:
        whole = ask(address, "127.0.0.1", PAGE)
        length = int(whole[1]["content-length"])
        assert (whole[0], len(whole[2])) == (200, length)
        assert length > 8_000_000
        readers = [held.enter_context(connect(address)) for _ in range(20)]
        statuses = []
        for reader in readers:
            reader.sendall(PAGE)
            statuses.append(status_of(reader))
        assert set(statuses) == {200, 503}
        assert statuses.count(200) <= 3
        # Whoever has nothing waiting is answered meanwhile, and so is what is short.
        assert ask(address, "127.0.0.2", PAGE)[2] == whole[2]
        assert ask(address, "127.0.0.1", get(b"/livez"))[0] == 200
        status, headers, body = ask(address, "127.0.0.1", PAGE)
        assert (status, headers.get("retry-after"), b'"overloaded"' in body) == (503, "1", True)
        for _ in range(TRIES):
            if (again := ask(address, "127.0.0.1", PAGE))[0] == 200:
                break
            time.sleep(0.05)
        assert again[2] == whole[2]
        assert all(read_to_end(reader) < length for reader in readers)


@pytest.mark.slow
def test_a_reader_that_is_slow_but_reads_gets_all(make_lab: Callable[..., Lab]) -> None:
    lab = make_texts(make_lab, send_timeout_seconds=3)
    with serving(lab) as address, connect(address) as reader:
        reader.sendall(PAGE)
        size = 0
        for _ in range(30):
            size += len(reader.recv(20_000))
            time.sleep(0.2)
        assert size + read_to_end(reader) > 8_000_000


@pytest.mark.slow
def test_requests_in_one_piece_are_answered_as_their_reader_reads(make_lab: Callable[..., Lab]) -> None:
    lab = make_texts(make_lab)
    with serving(lab) as address, connect(address) as reader:
        reader.sendall(PAGE * 5)
        stream = reader.makefile("rb")
        for _ in range(5):
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            assert len(stream.read(length)) == length > 8_000_000
        stream.close()


@pytest.mark.slow
def test_over_all_callers_those_who_take_nothing_make_room(make_lab: Callable[..., Lab]) -> None:
    lab = make_texts(make_lab, send_timeout_seconds=600, send_bytes=12_000_000)
    with serving(lab) as address, ExitStack() as held:
        readers = [held.enter_context(connect(address, f"127.0.0.{n}")) for n in range(2, 7)]
        for reader in readers:
            for _ in range(TRIES):
                reader.sendall(PAGE)
                if status_of(reader) == 200:
                    break
                reader = held.enter_context(connect(address, reader.getsockname()[0]))
                time.sleep(0.05)
            else:
                raise AssertionError("no room was made")
        for _ in range(TRIES):
            if (answer := ask(address, "127.0.0.1", PAGE))[0] == 200:
                break
            time.sleep(0.05)
        assert len(answer[2]) == int(answer[1]["content-length"])


@contextmanager
def running(lab: Lab, files: int) -> Iterator[tuple[str, int]]:
    """The address of the command, in a process that may open so many files."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DECANT_", "OTEL_"))}
    environment = own | {
        "DECANT_HOME": str(lab.settings.home),
        "DECANT_CONTRACTS": str(lab.settings.contracts),
        "DECANT_DATABASE_URL": lab.urls.owner,
        "DECANT_READ_DATABASE_URL": lab.urls.read,
        "DECANT_WRITE_DATABASE_URL": lab.urls.write,
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
    }
    command = ["sh", "-c", f'ulimit -n {files} && exec "$0" serve --port 0', str(DECANT)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())
        assert found
        yield found[1], int(found[2])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_one_address_that_holds_all_connections_does_not_keep_others_out(make_lab: Callable[..., Lab]) -> None:
    with running(make_lab(), 200) as address, ExitStack() as held:
        # Waiting ones that send nothing, and some that have asked once and stay.
        for _ in range(5):
            kept = held.enter_context(connect(address, "127.0.0.9"))
            kept.sendall(get(b"/livez"))
            assert read_answer(kept)[0] == 200
        for _ in range(300):
            held.enter_context(connect(address))
        # From the same address there is no room; who stays is told so, or gets the place of one that stayed idle.
        assert ask(address, "127.0.0.1", get(b"/livez"))[0] in {0, 503}
        for number in range(2, 8):
            assert ask(address, f"127.0.0.{number}", get(b"/readyz"))[0] == 200
        held.close()
        for _ in range(TRIES):
            if ask(address, "127.0.0.1", get(b"/livez"))[0] == 200:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the connections were never let go")


def test_the_longest_idle_connection_makes_room(make_lab: Callable[..., Lab]) -> None:
    with serving(make_lab(connections_limit=16)) as address, ExitStack() as held:
        idle = [held.enter_context(connect(address)) for _ in range(16)]
        for connection in idle:
            connection.sendall(get(b"/livez"))
            assert read_answer(connection)[0] == 200
        assert ask(address, "127.0.0.1", get(b"/livez"))[0] == 200
        assert idle[0].recv(1) == b""
        idle[15].sendall(get(b"/livez"))
        assert read_answer(idle[15])[0] == 200
