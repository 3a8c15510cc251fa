"""An upgrade from the version before, in the order of docs/how-to/upgrade.md: callers notice nothing."""

from __future__ import annotations

import itertools
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
from tests.support.upgrade import ASKING, CONTRACT, EXPANDED, PEOPLE, READINGS, make_key, people
from tests.support.waiting import wait_until

ROUNDS = 3  # of all requests, at least, before each step
PAUSE_SECONDS = 0.03  # between two requests of one caller, so that processes start beside them


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
    headers: dict[str, str]
    failed: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    pushed: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def client(self) -> httpx.Client:
        """A connection through the proxy."""
        client = self.front.client(**self.headers)
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


def age_of(client: httpx.Client) -> int | None:
    """The age of the first record; None before it is loaded."""
    age: int | None = client.get(f"{PEOPLE}/records/0").json().get("data", {}).get("age")
    return age


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


@pytest.mark.slow
def test_nobody_notices_an_upgrade_from_the_version_before(stack: Stack, previous: Path) -> None:
    own = make_key(stack, previous)
    with run_front(list(stack.ports.values())) as front, front.client(**own) as client:

        def publish(turn: int) -> None:
            (stack.folder / "data" / "people.csv").write_text(people(turn))
            wait_until(lambda: age_of(client) == 20 + turn, START_SECONDS)

        publish(1)
        callers = Callers(front, own)
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
    newer = httpx.get(f"http://127.0.0.1:{stack.ports[API[1]]}{PEOPLE}/records", headers=own, timeout=60)
    assert "town" in newer.json()["data"][0]
    count = "SELECT count(*) FROM shop_v1.readings"
    wait_until(lambda: stack.rows(count) == [(len(callers.pushed),)], START_SECONDS)
