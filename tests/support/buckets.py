"""A server that speaks S3, and its buckets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

LOGIN = {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": "secret-canary", "AWS_REGION": "us-east-1"}
VERSIONED = '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'


@contextmanager
def serve_buckets() -> Iterator[str]:
    """The address of a server."""
    from moto.server import ThreadedMotoServer  # here: it takes a second

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def make_bucket(endpoint: str, name: str, *, versioned: bool = False) -> str:
    """The address of a new bucket."""
    httpx.put(f"{endpoint}/{name}", timeout=60).raise_for_status()
    if versioned:
        httpx.put(f"{endpoint}/{name}?versioning", content=VERSIONED, timeout=60).raise_for_status()
    return f"{endpoint}/{name}"


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[str]:
    """The address of a server, for the tests of a module; the environment has a login."""
    with serve_buckets() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in LOGIN.items():
            patch.setenv(name, value)
        yield endpoint
