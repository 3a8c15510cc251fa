"""Pushed bodies that are small to send and costly to take: refused, or taken while others are answered."""

from __future__ import annotations

import base64
import gzip
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from api.push.event_body import SIGNS_LIMIT
from tests.support.lab import Lab
from tests.support.pushing import EVENTS, SENSORS, make_key
from tests.support.sockets import serving

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
CLOUD = {"Content-Type": "application/cloudevents+json"}
PACKED = {"Content-Encoding": "gzip"}
PAUSE_SECONDS = 0.005
QUOTES = b'{"id":"' + b'\\"' * 4_900_000 + b'"}'
ZEROS = b'{"id":[' + b"0," * 4_900_000 + b"0]}"
EVENT = {"specversion": "1.0", "type": "t", "source": "s", "id": "1"}
HIDDEN = json.dumps(EVENT | {"data_base64": base64.b64encode(ZEROS[:7_000_000] + b"0]}").decode()}).encode()


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Lab:
    lab = Lab.build(tmp_path_factory.mktemp("bombs"), databases.urls(databases.create()), SENSORS)
    lab.migrate()
    return lab


@pytest.fixture(scope="module")
def client(sensors: Lab) -> Iterator[httpx.Client]:
    with (
        serving(sensors) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", headers=make_key(sensors), timeout=120) as client,
    ):
        yield client


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (gzip.compress(QUOTES), JSON | PACKED, "100 times its size"),
        (gzip.compress(b" " * 9_000_000), JSON | PACKED, "100 times its size"),
        (gzip.compress(b'{"id":1}\n' * 1_000_000), NDJSON | PACKED, "100 times its size"),
        (ZEROS, JSON, "values"),
        (b'{"id":[' + b"{}," * 3_000_000 + b"0]}", JSON, "values"),
        (b'{"id":[' + b"[]," * 3_000_000 + b"0]}", JSON, "values"),
        (b"\n" * 9_000_000 + b"{}", NDJSON, "values"),
        (HIDDEN, CLOUD, "values"),
        (b"[" + b"{}," * 10_000 + b"{}]", JSON, "10,000 records"),
    ],
    ids=["quotes", "blanks", "lines", "zeros", "objects", "lists", "empty lines", "in Base64", "records"],
)
def test_a_body_that_would_cost_many_times_its_size_is_refused(
    sensors: Lab, client: httpx.Client, body: bytes, headers: dict[str, str], says: str
) -> None:
    answer = client.post(EVENTS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large"), answer.text
    assert says in answer.json()["detail"]


@pytest.mark.slow
def test_others_are_answered_while_a_large_push_is_taken_and_it_is_kept_as_it_came(
    sensors: Lab, client: httpx.Client
) -> None:
    numbers = ",".join(str(random.Random(n).random()) for n in range(50))
    values = b"[" + b",".join(b'{"id":%d,"value":[%s]}' % (n, numbers.encode()) for n in range(9_000)) + b"]"
    bodies = [QUOTES, b'{"id":"' + b"\\u0430" * 1_600_000 + b'"}', values]
    for body in bodies:
        (last,) = sensors.rows("SELECT coalesce(max(id), 0) FROM decant.events")[0]
        with ThreadPoolExecutor(1) as threads, httpx.Client(base_url=client.base_url, timeout=60) as other:
            pushing = threads.submit(client.post, EVENTS, content=body, headers=JSON)
            answered = 0
            while not pushing.done() and answered < 100_000:
                assert other.get("/livez").status_code == 200
                answered += not pushing.done()
                time.sleep(PAUSE_SECONDS)  # to ask without a pause takes more of a core than the push
            assert pushing.result().status_code == 202
        assert answered > 0
        kept = sensors.rows("SELECT payload FROM decant.events WHERE id > %s ORDER BY id", last)
        text = body.decode()
        assert ",".join(row[0] for row in kept) == (text[1:-1] if text.startswith("[") else text)


@pytest.mark.slow
def test_what_unpacks_in_many_pieces_is_whole(sensors: Lab, client: httpx.Client) -> None:
    for size in (262_144, 262_145, 524_288, 3_000_000):
        expander = "x" * (size // 2) + random.Random(size).randbytes(size // 4).hex()
        text = f'{{"id":1,"t":"{expander}"}}'
        text = text[:-2] + "x" * (size - len(text)) + text[-2:]
        assert client.post(EVENTS, content=gzip.compress(text.encode()), headers=JSON | PACKED).status_code == 202
        assert sensors.rows("SELECT payload FROM decant.events ORDER BY id DESC LIMIT 1") == [(text,)]
    limit = f"[{'0,' * (SIGNS_LIMIT - 1)}0]"
    assert client.post(EVENTS, content=limit, headers=JSON).json()["code"] == "invalid_event"
    assert client.post(EVENTS, content=f"[0,{limit[1:]}", headers=JSON).json()["code"] == "body_too_large"


@pytest.mark.slow
def test_bodies_that_are_on_their_way_are_bounded_in_memory(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SENSORS, events_limit_bytes=100_000, events_memory_bytes=300_000)
    with serving(lab) as (host, port), httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
        client.headers.update(make_key(lab))
        head = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99000\r\n"
        head += "Expect: 100-continue\r\n"
        head += f"Authorization: {client.headers['Authorization']}\r\n\r\n"
        refused = None
        with ExitStack() as slow:
            for _ in range(4):
                wire = slow.enter_context(socket.create_connection((host, port), timeout=60))
                wire.sendall(head.encode())
                assert wire.recv(100).startswith(b"HTTP/1.1 100")  # now the body is being read
                wire.sendall(b" " * 70_000)
            for _ in range(50):
                assert client.get("/livez").status_code == 200
            for _ in range(2_000):
                answer = client.post(EVENTS, content='{"id":"' + "x" * 90_000 + '"}', headers=JSON)
                if answer.status_code != 202:
                    refused = answer
                    break
        assert refused is not None
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        for _ in range(2_000):
            answer = client.post(EVENTS, content='{"id":"' + "x" * 90_000 + '"}', headers=JSON)
            if answer.status_code == 202:
                break
        assert answer.status_code == 202
