"""compose.yaml, run without containers: its services as processes, with its variables, logins, proxy and pooler."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.compose import API
from tests.support.deployment import START_SECONDS, Stack, open_stack
from tests.support.following import Stream
from tests.support.lab import PEOPLE
from tests.support.proxies import Front, run_front
from tests.support.waiting import wait_until

CONTRACT = PEOPLE.replace(
    "{name: born, logicalType: date}", "{name: born, logicalType: date, classification: confidential}"
).replace("mode: snapshot,", "mode: snapshot, watch: true,")
BASE = "/data/people/v1/people"
PAUSE_SECONDS = 0.02  # between rounds of requests: who asks must not keep who starts from the cores
FIRST = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,,\n3,Cid,x,\n"
SECOND = FIRST.replace("Ann,30", "Ann,31")


@pytest.fixture(scope="module")
def stack(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """What `docker compose --profile pooler up` starts, up to the first load of the worker."""
    folder = tmp_path_factory.mktemp("stack")
    with open_stack(folder, server.binaries, CONTRACT, {"people.csv": FIRST}, pooled=True) as made:
        made.run("migrate")
        for service in ("worker", *API):
            made.start(service)
        yield made


@pytest.fixture(scope="module")
def front(stack: Stack) -> Iterator[Front]:
    """nginx in front of it."""
    with run_front(list(stack.ports.values())) as running:
        yield running


@pytest.fixture
def client(front: Front) -> Iterator[httpx.Client]:
    """A caller without a credential."""
    with front.client() as made:
        wait_until(lambda: made.get(BASE).json()["data"]["revision"] > 0, START_SECONDS)
        yield made


def make_key(stack: Stack, *scopes: str) -> dict[str, str]:
    """The header of a new key."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    key = json.loads(stack.run("api-1", "keys", "create", "somebody", *words, "--json"))["key"]
    return {"Authorization": f"Bearer {key}"}


def test_the_worker_loads_with_its_own_login_and_the_api_reads_through_the_pooler(
    stack: Stack, client: httpx.Client
) -> None:
    answer = client.get(f"{BASE}/records").json()
    assert [record["name"] for record in answer["data"]] == ["Ann", "Ben"]
    assert stack.pooler
    assert f":{stack.pooler}/" in stack.environment("api-1")["DECANT_READ_DATABASE_URL"]
    # Who wrote it: the login of ingestion, and who migrated: the owner. Product roles could be made.
    owners = stack.rows("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'decant'")
    assert owners == [("decant",)]
    assert stack.rows("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'decant_product_%'") == [(1,)]
    stack.run("migrate")
    assert stack.warnings == []


def test_each_container_gets_its_own_passwords_only(stack: Stack) -> None:
    owner = stack.variables["OWNER_PASSWORD"]
    for service in ("worker", *API):
        values = " ".join(stack.environment(service).values())
        assert owner not in values
        assert (stack.variables["INGEST_PASSWORD"] in values) is (service == "worker")


def test_plain_http_leads_to_tls_and_metrics_stay_inside(front: Front, client: httpx.Client) -> None:
    moved = httpx.get(f"http://127.0.0.1:{front.plain}{BASE}/records?limit=1", timeout=60)
    assert (moved.status_code, moved.headers["location"]) == (308, f"https://127.0.0.1{BASE}/records?limit=1")
    assert client.get("/metrics").status_code == 404


@pytest.mark.slow
def test_answers_that_name_a_revision_are_cached_for_those_without_a_credential(
    stack: Stack, client: httpx.Client
) -> None:
    path = f"{BASE}/records?at=1&limit=2"
    key = make_key(stack, "people:read", "people:read:confidential")
    first = client.get(path)
    again = client.get(path)
    assert [first.headers["x-cache"], again.headers["x-cache"]] == ["MISS", "HIT"]
    assert first.content == again.content
    kept = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (kept.status_code, kept.headers["x-cache"], kept.content) == (304, "HIT", b"")
    # With a credential: never from the cache, and never into it.
    own = client.get(path, headers=key)
    assert own.headers["x-cache"] == "BYPASS"
    assert "born" in own.json()["data"][0]
    assert client.get(path, headers=key).headers["x-cache"] == "BYPASS"
    other = client.get(path)
    assert (other.headers["x-cache"], other.content) == ("HIT", first.content)
    # The service itself judges tags and ranges of what is not kept.
    unchanged = client.get(path, headers=key | {"If-None-Match": own.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["x-cache"], unchanged.content) == (304, "BYPASS", b"")
    assert client.get(path, headers=key | {"If-None-Match": first.headers["etag"]}).status_code == 200
    assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    # Who wants no less than a revision gets no older one that is still kept.
    newest = client.get(f"{BASE}/records", headers=key).json()["revision"]
    wanted = client.get(f"{BASE}/records", headers={"Decant-Min-Revision": str(newest)})
    assert (wanted.status_code, wanted.json()["revision"]) == (200, newest)


@pytest.mark.slow
def test_revisions_are_told_through_the_proxy_as_they_are_published(stack: Stack, client: httpx.Client) -> None:
    with client.stream("GET", f"{BASE}/follow") as answer:
        stream = Stream(answer)
        event = stream.next()
        assert event is not None
        known = event.id or 0
        # The watched file changes, and the worker loads it.
        (stack.folder / "data" / "people.csv").write_text(SECOND if known % 2 else FIRST)
        event = stream.next()
        assert event is not None
        assert event.id == known + 1
        # Addresses are those of DECANT_PUBLIC_URL.
        assert event.data["changes"].startswith(
            f"{stack.variables['DECANT_PUBLIC_URL']}{BASE}/changes?since={known}&"
        )


@pytest.mark.slow
def test_a_process_is_replaced_without_a_failed_request(stack: Stack, client: httpx.Client) -> None:
    # With a credential, so that no answer comes from the cache.
    key = make_key(stack, "people:read")
    failed: list[str] = []
    number = 0
    over = threading.Event()

    def keep_asking() -> None:
        nonlocal number
        while not over.wait(PAUSE_SECONDS):
            for path in (f"{BASE}/records", f"{BASE}/records?at=1&limit=1", f"{BASE}/records/1", "/data"):
                answer = client.get(path, headers=key)
                number += 1
                if answer.status_code != 200:
                    failed.append(f"{path} {answer.status_code} {answer.text}")

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        for service in API:
            before = number
            wait_until(lambda before=before: number > before + 20, START_SECONDS)
            stack.stop(service)
            stack.start(service)
    finally:
        over.set()
        asking.join(60)
    assert failed == []
    assert number > 40
