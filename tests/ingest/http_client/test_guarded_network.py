"""Where connections may lead: over a real server whose name means something else from one look-up to the next."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from catalog.contract.load import load_catalog
from catalog.model.sources import HttpSource
from ingest.http_client import client as http_client
from ingest.http_client.client import ApiClient, ApiRequest
from ingest.http_client.guarded_network import AddressRefusedError, Resolver
from runtime import public_addresses as addresses
from runtime.public_addresses import Address
from runtime.settings.settings import load_settings
from tests.support.quakes import QUAKES
from tests.support.remote_api import RemoteApi, Reply, run_remote_api

HERE = "127.0.0.1"
LIMIT = 1 << 20


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteApi]:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    with run_remote_api() as api:
        # Closed after each answer, so that each request is a connection of its own.
        api.answer = lambda asked: Reply([{"id": len(api.asked)}], headers={"Connection": "close"})
        yield api


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HttpSource:
    """An API as a contract has it, with one retry."""
    (tmp_path / "quakes.odcs.yaml").write_text(QUAKES)
    catalog = load_catalog(load_settings(home=tmp_path / "home", contracts=tmp_path, data=tmp_path))
    made = catalog.find("quakes.quakes")[0].input
    assert made is not None
    assert isinstance(made.source, HttpSource)
    return made.source


def answer_in_turn(*answers: list[str]) -> Resolver:
    """A resolver that gives these addresses, one list a look-up, and the last one from then on."""
    left = list(answers)

    def find(host: str, port: int) -> list[Address]:
        assert host == "api.example"
        return [ipaddress.ip_address(text) for text in (left.pop(0) if len(left) > 1 else left[0])]

    return find


def ask(client: ApiClient, port: int) -> bytes:
    """What one request brings."""
    url = httpx.URL(f"http://api.example:{port}/v1/quakes")
    answer, _ = client.fetch(ApiRequest("GET /quakes", "GET", url, {}), LIMIT, lambda answer: None)
    with answer.body as body:
        return body.read()


@pytest.fixture
def connect(source: HttpSource, remote: RemoteApi, tmp_path: Path) -> Callable[..., ApiClient]:
    location = httpx.URL(f"http://api.example:{remote.port}/v1")
    return lambda *answers: ApiClient(source, location, tmp_path, answer_in_turn(*answers))


@pytest.mark.parametrize(
    ("later", "kind"),
    [
        (["10.0.0.1"], "a non-public address"),
        (["169.254.169.254"], "a link-local address"),
        (["::1"], "this machine"),
        (["::ffff:127.0.0.2"], "this machine"),
        (["127.0.0.2"], "this machine"),
        ([HERE, "192.168.1.1"], "a non-public address"),  # one of several is enough
    ],
)
def test_a_public_servers_name_never_leads_to_a_private_address_later(
    remote: RemoteApi,
    connect: Callable[..., ApiClient],
    monkeypatch: pytest.MonkeyPatch,
    later: list[str],
    kind: str,
) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == HERE)  # as if it were on the net
    client = connect([HERE], [HERE], later)
    assert ask(client, remote.port) == b'[{"id": 1}]'
    assert ask(client, remote.port) == b'[{"id": 2}]'  # the next page, at a public address again
    with pytest.raises(AddressRefusedError) as refused:
        ask(client, remote.port)
    assert str(refused.value) == (
        f"The contract's own server api.example:{remote.port} resolves to {kind} now,"
        " but resolved to a public address first."
    )
    assert len(remote.asked) == 2
    client.close()


def test_names_are_checked_again_on_retries_and_on_redirects(
    remote: RemoteApi, connect: Callable[..., ApiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == HERE)
    closed = {"Connection": "close"}
    for reply in (Reply(status=503, headers=closed), Reply(status=302, headers={"Location": "/v2", **closed})):
        remote.play(reply, Reply([{"id": 1}]))
        remote.asked.clear()
        with pytest.raises(AddressRefusedError, match="resolves to a non-public address now"):
            ask(connect([HERE], ["10.0.0.1"]), remote.port)
        assert len(remote.asked) == 1


def test_a_name_that_is_public_and_private_at_once_leads_nowhere(
    remote: RemoteApi, connect: Callable[..., ApiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == "203.0.113.7")
    with pytest.raises(AddressRefusedError, match="resolves to this machine now"):
        ask(connect(["203.0.113.7", HERE]), remote.port)
    assert remote.asked == []


def test_a_server_of_this_machine_stays_usable_and_stays_of_this_machine(
    remote: RemoteApi, connect: Callable[..., ApiClient]
) -> None:
    client = connect([HERE], [HERE, "::1"], ["10.0.0.1"])
    assert ask(client, remote.port) == b'[{"id": 1}]'
    assert ask(client, remote.port) == b'[{"id": 2}]'
    with pytest.raises(
        AddressRefusedError, match="resolves to a non-public address now, but resolved to this machine"
    ):
        ask(client, remote.port)
    assert [asked.headers["host"] for asked in remote.asked] == [f"api.example:{remote.port}"] * 2
