"""Objects in a store that speaks S3, over a real server: what is read, and what goes wrong on the way."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from catalog.inputs.permits import Permits
from catalog.model.dataset import Input
from catalog.model.sources import BucketSource
from ingest.errors import PathOutsideRootError, SourceError, SourceMissingError
from ingest.inputs import find_position
from ingest.inputs.bucket import open_bucket_batch
from ingest.inputs.raw_batch import InputContext
from runtime import bucket_client
from runtime.settings.settings import load_settings

PRODUCTION = {"env": "production", "secret": "x" * 32, "database_url": "postgresql://own@db.example/decant"}
BIG = random.Random(1).randbytes(6_000_000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a store with some objects."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with socket.create_connection((host, port)) as connection:
        connection.sendall(b"PUT /lake HTTP/1.1\r\nHost: lake\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        while connection.recv(1000):
            pass
    store = S3Store("lake", endpoint=address, access_key_id="a", secret_access_key="b", region="us-east-1",
                    client_options={"allow_http": True}, virtual_hosted_style_request=False)  # fmt: skip
    for name, content in {
        "in/a-1.csv": b"one",
        "in/a-2.csv": b"two",
        "in/deep/a-3.csv": b"3",
        "in-side/a.txt": b"beside",
        "big.bin": BIG,
    }.items():
        obstore.put(store, name, content)
    yield address
    server.stop()


@pytest.fixture(autouse=True)
def access(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads, as the environment says it; and no patience."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-canary")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(bucket_client, "RETRIES", 1)
    monkeypatch.setattr(bucket_client, "RETRY_TIMEOUT", timedelta(seconds=2))


def place(endpoint: str, path: str, folder: str = "", mode: str = "snapshot", **more: Any) -> InputContext:
    """An input of objects and nothing else."""
    bucket = BucketSource(more.pop("bucket", "lake"), folder, endpoint)
    source = Input(kind="bucket", mode=mode, path=path, source=bucket)
    permits = Permits(load_settings(**more.get("settings", {})), "lake")
    return SimpleNamespace(source=source, permits=permits, state=more.get("state", {}))  # type: ignore[return-value]


def read(where: InputContext) -> dict[str, bytes]:
    with open_bucket_batch(where) as batch:
        return {part.name: b"".join(part.chunks) for part in batch.parts}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("path", "folder", "names"),
    [
        ("in/a-1.csv", "", ["in/a-1.csv"]),
        ("a-1.csv", "in", ["a-1.csv"]),
        ("in/*.csv", "", ["in/a-1.csv", "in/a-2.csv"]),
        ("*.csv", "in", ["a-1.csv", "a-2.csv"]),
        ("a-[2-9].csv", "in", ["a-2.csv"]),
        ("**/*.csv", "", ["in/a-1.csv", "in/a-2.csv", "in/deep/a-3.csv"]),
        ("i?/**", "", ["in/a-1.csv", "in/a-2.csv", "in/deep/a-3.csv"]),
    ],
)
def test_a_pattern_means_the_same_names_as_in_a_folder(
    endpoint: str, path: str, folder: str, names: list[str]
) -> None:
    assert list(read(place(endpoint, path, folder))) == names


def test_an_object_of_megabytes_comes_in_pieces_and_whole(endpoint: str) -> None:
    with open_bucket_batch(place(endpoint, "big.bin")) as batch:
        assert batch.size == len(BIG)
        (part,) = batch.parts
        pieces = list(part.chunks)
    assert b"".join(pieces) == BIG
    assert len(pieces) > 2


def test_each_new_or_changed_object_is_a_batch_of_its_own(endpoint: str) -> None:
    state: dict[str, Any] = {}
    seen = []
    for _ in range(3):
        where = place(endpoint, "in/*.csv", mode="upsert", state=state)
        new_data = find_position(where)
        with open_bucket_batch(where) as batch:
            seen.append(([part.name for part in batch.parts], batch.more, batch.may_be_empty))
            state = batch.position() or {}
        assert new_data == (state if seen[-1][0] else None)
    assert seen == [(["in/a-1.csv"], True, False), (["in/a-2.csv"], False, False), ([], False, True)]


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"path": "in/none.csv"}, SourceMissingError),
        ({"path": "none/*.csv"}, SourceMissingError),
        ({"path": "a.csv", "bucket": "no-such-bucket"}, SourceMissingError),
        ({"path": "../*.csv"}, PathOutsideRootError),
    ],
)
def test_what_is_not_there_is_missing(endpoint: str, where: dict[str, Any], error: type[SourceError]) -> None:
    with pytest.raises(error):
        read(place(endpoint, **where))


def test_a_variable_is_filled_in_when_it_is_read(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = place("${STORE_URL}", "in/a-1.csv")
    with pytest.raises(SourceError, match="STORE_URL is not set"):
        read(where)
    monkeypatch.setenv("STORE_URL", endpoint)
    assert read(where) == {"in/a-1.csv": b"one"}


# Places at the store that hold something, and whether the list opens them.
LISTED = [
    ("in/a-1.csv", "", True),
    ("*.csv", "in", True),
    ("in/**", "", True),
    ("**/*.csv", "", False),
    ("big.bin", "", False),
    ("in-side/a.txt", "", False),
    ("a.txt", "in-side", False),
    ("../in-side/a.txt", "in", False),
    ("%2e%2e/in-side/a.txt", "in", False),
    ("a-1.csv", "in-side/../in", False),
    ("in*/a*.csv", "", False),
]


@pytest.mark.parametrize(("path", "folder", "taken"), LISTED)
def test_the_machines_credentials_read_what_an_operator_lists(
    endpoint: str, path: str, folder: str, taken: bool
) -> None:
    settings = PRODUCTION | {"input_buckets": f"lake={endpoint}/lake/in;other={endpoint}/lake"}
    elsewhere = PRODUCTION | {"input_buckets": "*=s3://lake"}
    assert is_open(place(endpoint, path, folder, settings=settings)) is taken
    assert is_open(place(endpoint, path, folder, settings=elsewhere)) is False
    assert is_open(place(endpoint, path, folder, bucket="lake-2", settings=settings)) is False


def is_open(where: InputContext) -> bool:
    """Whether something is read; what is closed is refused before anybody is asked, by the look for news as well."""
    try:
        return bool(read(where))
    except PathOutsideRootError:
        with pytest.raises(
            PathOutsideRootError,
            match=r"DECANT_INPUT_BUCKETS, such as lake=http://127|is not valid: ",
        ):
            find_position(where)
        return False


def test_no_key_is_shown_to_a_store_that_no_operator_lists() -> None:
    asked: list[bytes] = []
    with serve_once(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", asked) as address:
        with pytest.raises(PathOutsideRootError):
            read(place(address, "a.csv", settings=PRODUCTION | {"input_buckets": "*=s3://lake"}))
        assert asked == []
        with pytest.raises(SourceMissingError):
            read(place(address, "a.csv"))
    assert b"AKIACANARY" in b"".join(asked)


@pytest.mark.parametrize("bucket", ["..", "lake/../lake-2", "la ke", "lake?x=", "lake#"])
def test_a_variable_makes_no_other_place_of_a_bucket(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    monkeypatch.setenv("STORE_BUCKET", bucket)
    with pytest.raises(
        PathOutsideRootError,
        match=r"s3://\$\{STORE_BUCKET\} at .* is not valid: the bucket's name",
    ):
        read(place(endpoint, "in/a-1.csv", bucket="${STORE_BUCKET}"))


@contextmanager
def serve_once(answer: bytes, asked: list[bytes] | None = None) -> Iterator[str]:
    """The address of a server that gives every request this answer, and keeps what it was asked in `asked`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    received = connection.recv(65536)
                    if asked is not None:
                        asked.append(received)
                    connection.sendall(answer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)  # wakes who waits for the next connection
    thread.join(15)


def test_who_may_not_read_is_told_without_a_word_of_the_keys() -> None:
    body = b"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIACANARY</AWSAccessKeyId></Error>"
    head = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with (
        serve_once(head + body) as address,
        pytest.raises(
            SourceError,
            match="denies access",
        ) as caught,
    ):
        read(place(address, "in/*.csv"))
    assert "CANARY" not in str(caught.value).upper()


def test_a_store_that_is_not_there_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SourceError, match="does not respond, or closed the connection") as caught:
        read(place(address, "in/*.csv"))
    assert "canary" not in str(caught.value).lower()


@contextmanager
def cut_after(endpoint: str, most: int) -> Iterator[str]:
    """The address of a way to the store that is cut after so many bytes of each answer."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def carry(near: socket.socket) -> None:
            with near, socket.create_connection((host, int(port))) as far:
                far.sendall(near.recv(65536))
                left = most
                while left > 0 and (piece := far.recv(min(left, 65536))):
                    near.sendall(piece)
                    left -= len(piece)

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=carry, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(15)


def test_an_outage_in_the_middle_of_an_object_fails_and_never_ends_it_early(endpoint: str) -> None:
    with cut_after(endpoint, 1_000_000) as address:
        where = place(address, "big.bin")
        with open_bucket_batch(where) as batch:
            (part,) = batch.parts
            with pytest.raises(SourceError, match="closed the connection"):
                list(part.chunks)
