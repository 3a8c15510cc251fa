"""An upgrade from the version before, in the order of docs/how-to/upgrade.md: callers notice nothing."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.compose import API
from tests.support.deployment import START_SECONDS, Stack, open_stack
from tests.support.proxies import Front, run_front
from tests.support.waiting import wait_until

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: people
    customProperties:
      - {property: input, value: {server: here, path: people.csv, mode: snapshot, watch: true}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: name, logicalType: string, required: true}
      - {name: age, logicalType: integer, customProperties: [{property: indexed, value: true}]}
  - name: readings
    customProperties:
      - {property: input, value: {events: true}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: value, logicalType: number}
roles:
  - {role: "shop:read", access: read}
  - {role: "shop:write", access: write}
"""
# What the new version adds; the old processes go on with what they know.
EXPANDED = CONTRACT.replace("version: 1.0.0", "version: 1.1.0").replace(
    "      - {name: age,", "      - {name: town, logicalType: string}\n      - {name: age,"
)
PEOPLE = "/data/shop/v1/people"
READINGS = "/data/shop/v1/readings"
NUMBER = 30  # records
ROUNDS = 3  # of all requests, at least, before each step
PAUSE_SECONDS = 0.03  # between two requests of one caller, so that processes start beside them


def people(turn: int) -> str:
    """The file that is loaded at a turn; the column that the new version adds is there from the beginning."""
    lines = (f"{number},person {number},{20 + (number + turn) % 50},Ulm\n" for number in range(NUMBER))
    return "id,name,age,town\n" + "".join(lines)


@pytest.fixture
def stack(server: EmbeddedPostgres, previous: Path, tmp_path: Path) -> Iterator[Stack]:
    """The version before, as it runs: migrated, loaded, with a worker and two processes of the API."""
    with open_stack(tmp_path, server.binaries, CONTRACT, {"people.csv": people(0)}) as made:
        made.run("migrate", code=previous)
        for service in ("worker", *API):
            made.start(service, code=previous)
        yield made


@dataclass
class Callers:
    """Those who ask all the while, each with a connection of its own."""

    front: Front
    key: str
    failed: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    pushed: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def client(self) -> httpx.Client:
        """A connection through the proxy."""
        client = self.front.client(Authorization=f"Bearer {self.key}")
        client.event_hooks = {"response": [lambda answer: self.statuses.update([answer.status_code])]}
        return client

    def keep_asking(self, asking: dict[str, Callable[[httpx.Client, int], None]]) -> None:
        """Asks one after another, again and again, until it is over."""
        with self.client() as client:
            for number in itertools.count():
                for name, ask in asking.items():
                    if self.over.wait(PAUSE_SECONDS):
                        return
                    try:
                        ask(client, number)
                    except (AssertionError, httpx.HTTPError, KeyError) as error:
                        self.failed.append(f"{name}: {error!r}")
                    self.answered[name] += 1

    def wait_for_rounds(self, rounds: int = ROUNDS) -> None:
        """Returns when each caller has been answered so many times again."""
        before = dict(self.answered)
        wait_until(lambda: all(self.answered[name] >= before.get(name, 0) + rounds for name in ASKING), START_SECONDS)

    def push(self, client: httpx.Client, number: int) -> None:
        """One event, which is repeated as docs/how-to/events.md says where the connection is lost."""
        for _ in range(5):
            headers = {"Idempotency-Key": f'"{number}"'}
            answer = client.post(f"{READINGS}/events", json={"id": number, "value": 0.5}, headers=headers)
            if answer.status_code != httpx.codes.BAD_GATEWAY:
                break
            self.answered["repeated"] += 1
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        self.pushed.append(number)


def good(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is one."""
    if answer.status_code != httpx.codes.OK:
        raise AssertionError(f"{answer.request.url.path} {answer.status_code} {answer.text[:200]}")
    return answer


def walk(client: httpx.Client, number: int) -> None:
    """All records over pages, each of which may come from another process: of one revision, each once."""
    path, found, revisions = f"{PEOPLE}/records?limit=7&sort=-age", [], set()
    while path:
        page = good(client.get(path)).json()
        found += [record["id"] for record in page["data"]]
        revisions.add(page["revision"])
        path = page.get("next")
        path = path and path[path.index("/data/") :]
    assert sorted(found) == list(range(NUMBER)), found
    assert len(revisions) == 1


def ask_again(client: httpx.Client, number: int) -> None:
    """A record, and again with its tag: another process may have another one, but never a wrong 304."""
    first = good(client.get(f"{PEOPLE}/records/{number % NUMBER}"))
    again = client.get(f"{PEOPLE}/records/{number % NUMBER}", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code in {200, 304}, again.text
    seen = {"Decant-Min-Revision": str(first.json()["revision"])}
    assert good(client.get(f"{PEOPLE}/records", headers=seen)).json()["revision"] >= first.json()["revision"]


def keep_in_step(client: httpx.Client, number: int) -> None:
    """Changes since the first revision."""
    changes = good(client.get(f"{PEOPLE}/changes?since=0&limit=1000")).json()
    assert len(changes["data"]) >= NUMBER


def export(client: httpx.Client, number: int) -> None:
    """A whole dataset, by way of the address of its revision."""
    moved = client.get(f"{PEOPLE}/export?format={'csv' if number % 2 else 'parquet'}")
    assert moved.status_code == httpx.codes.TEMPORARY_REDIRECT, moved.text
    place = moved.headers["location"]
    assert good(client.get(place[place.index("/data/") :])).content


def look_around(client: httpx.Client, number: int) -> None:
    """The catalogue, aggregates, the contract, and the document for machines."""
    paths = ("/data", PEOPLE, f"{PEOPLE}/aggregate?measure=count,max:age", f"{PEOPLE}/quality", "/openapi.json")
    good(client.get(paths[number % len(paths)]))


def age_of(client: httpx.Client) -> int | None:
    """The age of the first record; None before it is loaded."""
    age: int | None = client.get(f"{PEOPLE}/records/0").json().get("data", {}).get("age")
    return age


ASKING: dict[str, Callable[[httpx.Client, int], None]] = {
    "walk": walk,
    "tag": ask_again,
    "changes": keep_in_step,
    "export": export,
    "look": look_around,
}


def replace(stack: Stack, service: str, code: Path | None = None) -> None:
    """Ends a service's process, and starts that of another version."""
    stack.stop(service)
    stack.start(service, code)


def upgrade(stack: Stack, previous: Path, callers: Callers, publish: Callable[[int], None]) -> None:
    """The steps of docs/how-to/upgrade.md, and back again; callers are answered in between."""
    callers.wait_for_rounds()
    # Expand.
    (stack.folder / "contracts" / "contract.odcs.yaml").write_text(EXPANDED)
    stack.run("migrate")
    callers.wait_for_rounds()
    # Old processes may be started again, as after a crash.
    for service in ("worker", API[0]):
        replace(stack, service, previous)
    callers.wait_for_rounds()
    # Workers: the new one loads what the old processes serve.
    replace(stack, "worker")
    publish(2)
    callers.wait_for_rounds()
    # The API, one process after another.
    for turn, service in enumerate(API, 3):
        stack.stop(service)
        callers.wait_for_rounds()
        stack.start(service)
        publish(turn)
        callers.wait_for_rounds()
    # Back again: the old version goes on with what the new one wrote.
    for service in (API[0], "worker"):
        replace(stack, service, previous)
    publish(5)
    callers.wait_for_rounds()


def test_nobody_notices_an_upgrade_from_the_version_before(stack: Stack, previous: Path) -> None:
    scopes = [word for scope in ("shop:read", "shop:write") for word in ("--scope", scope)]
    key = json.loads(stack.run("api-1", "keys", "create", "callers", *scopes, "--json", code=previous))["key"]
    own = {"Authorization": f"Bearer {key}"}
    with run_front(list(stack.ports.values())) as front, front.client(**own) as client:

        def publish(turn: int) -> None:
            (stack.folder / "data" / "people.csv").write_text(people(turn))
            wait_until(lambda: age_of(client) == 20 + turn, START_SECONDS)

        publish(1)
        callers = Callers(front, key)
        asking = (ASKING, {"push": callers.push})
        threads = [threading.Thread(target=callers.keep_asking, args=(each,)) for each in asking]
        for thread in threads:
            thread.start()
        try:
            upgrade(stack, previous, callers, publish)
        finally:
            callers.over.set()
            for thread in threads:
                thread.join(60)
    print(f"{dict(callers.statuses)}; pushes repeated: {callers.answered['repeated']}")
    assert Counter(callers.failed) == {}
    assert {200, 202, 304, 307} <= set(callers.statuses) <= {200, 202, 304, 307, 502}
    # Of what is safe to repeat, the proxy has repeated what got no answer.
    assert callers.statuses[502] == callers.answered["repeated"]
    # What was added is there, and every event that was taken is, once.
    newer = httpx.get(f"http://127.0.0.1:{stack.ports[API[1]]}{PEOPLE}/records", headers=own)
    assert "town" in newer.json()["data"][0]
    count = "SELECT count(*) FROM shop_v1.readings"
    wait_until(lambda: stack.rows(count) == [(len(callers.pushed),)], START_SECONDS)
