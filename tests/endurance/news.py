"""Revisions are published one after the other, and told to receivers that misbehave each in its own way, and to a
follower, while service and worker are killed and stopped.

The last revision arrives at everybody who can be told, nobody is told an older one after a newer one, and one id
never has two contents. Time passes for subscriptions that wait to be tried again: their moment is moved to now.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median, quantiles

import httpx

from tests.endurance.outages import run_worker
from tests.support.following import following
from tests.support.lab import Lab
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api
from tests.support.serve_process import serving
from tests.support.webhooks import Sender, event_of

OK, BROKEN, GONE, CUT_OFF = Reply(status=204), Reply(status=500), Reply(status=410), Reply(raw=b"")
HANG_SECONDS = 20.0  # longer than an answer is waited for
FAILURES_IN_A_ROW = 5  # at most: after ten, a subscription ends
HASTENED_EVERY = 5  # publications
LAST_SECONDS = 180.0  # until the last revision has arrived everywhere: only a failure takes as long
PAUSE_SECONDS = 0.2
ELSEWHERE = "/elsewhere"


@dataclass
class Recipient:
    """A receiver that behaves in its own way, and what it got."""

    api: RemoteApi
    choose: Callable[[Asked], Reply]
    taken: list[tuple[int, float]] = field(default_factory=list)  # revision, and when
    failed: int = 0  # in a row

    def answer(self, asked: Asked) -> Reply:
        """The reply; what is taken is noted, also where the sender will not learn of it."""
        reply = self.choose(asked)
        if reply is OK or reply is CUT_OFF:
            self.taken.append((event_of(asked)["data"]["revision"], time.time()))
        self.failed = 0 if reply is OK else self.failed + 1
        return OK if self.failed > FAILURES_IN_A_ROW else reply


class Behaviour:
    """How receivers misbehave."""

    def __init__(self, chance: random.Random, hangs: int) -> None:
        self.chance = chance
        self.hangs = hangs
        self.over = threading.Event()
        self.redirected = 0

    def fail(self, asked: Asked) -> Reply:
        """Now and then it takes nothing, or takes it and is cut off."""
        roll = self.chance.random()
        return BROKEN if roll < 0.3 else CUT_OFF if roll < 0.45 else OK

    def hang(self, asked: Asked) -> Reply:
        """Some requests are not answered in time."""
        if self.hangs and self.chance.random() < 0.3:
            self.hangs -= 1
            self.over.wait(HANG_SECONDS)
            return BROKEN
        return OK

    def redirect(self, asked: Asked) -> Reply:
        """At first it sends others elsewhere."""
        self.redirected += 1
        return Reply(status=302, headers={"Location": ELSEWHERE}) if self.redirected <= 3 else OK


class Follower(threading.Thread):
    """Follows the dataset, and connects again wherever the service is."""

    def __init__(self, find_address: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self.find_address = find_address
        self.told: list[tuple[int, float]] = []
        self.connected = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Reads streams until it is over."""
        while not self.over.is_set():
            url = httpx.URL(self.find_address())
            since = {"Last_Event_ID": str(self.told[-1][0])} if self.told else {}
            with suppress(httpx.HTTPError), following((url.host, url.port or 0), **since) as stream:
                self.connected += 1
                while (event := stream.next()) is not None and event.name == "revision":
                    self.told.append((event.id or 0, time.time()))
            self.over.wait(PAUSE_SECONDS)


class Parts:
    """The service and the worker, as processes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.service = ExitStack()
        self.worker = ExitStack()
        self.address = ""
        self.processes: list[subprocess.Popen[str] | subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts both."""
        serve, self.address = self.service.enter_context(serving(self.lab))
        self.processes = [serve, self.worker.enter_context(run_worker(self.lab))]

    def restart(self, *, kill: bool) -> None:
        """Ends both and starts them again; what a killed worker had begun is another's at once."""
        if kill:
            for process in self.processes:
                process.kill()
                process.wait()
            with suppress(AssertionError):  # it did not end well
                self.worker.close()
            self.lab.rows("UPDATE decant.subscriptions SET lease_until = now() WHERE lease IS NOT NULL RETURNING id")
        self.stop()
        self.start()

    def stop(self) -> None:
        """Ends both."""
        self.service.close()
        self.worker.close()


class NewsRun:
    """Who is told, and what is published."""

    def __init__(self, lab: Lab, publications: int, seed: int, hangs: int) -> None:
        self.sender = Sender(lab)
        self.publications = publications
        self.parts = Parts(lab)
        self.behaviour = Behaviour(random.Random(seed), hangs)
        self.follower = Follower(lambda: self.parts.address)
        self.recipients: dict[str, Recipient] = {}

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Every recipient, subscribed."""
        ways: dict[str, Callable[[Asked], Reply]] = {
            "steady": lambda asked: OK,
            "failing": self.behaviour.fail,
            "hanging": self.behaviour.hang,
            "redirecting": self.behaviour.redirect,
            "gone": lambda asked: GONE,
            "private": lambda asked: OK,
        }
        with ExitStack() as stack:
            for name, choose in ways.items():
                api = stack.enter_context(run_remote_api())
                recipient = self.recipients[name] = Recipient(api, choose)
                api.answer = recipient.answer
                # This machine by an address that is not of the networks that are allowed.
                url = api.url if name != "private" else api.url.replace("127.0.0.1", "0.0.0.0")
                self.sender.subscribe(f"{url}/{name}")
            yield
            self.behaviour.over.set()

    def publish(self) -> None:
        """Publishes, and restarts the parts twice meanwhile."""
        restarts = {self.publications // 3: True, 2 * self.publications // 3: False}
        for number in range(1, self.publications + 1):
            self.sender.publish()
            if number % HASTENED_EVERY == 0:
                self.hasten()
            if number in restarts:
                self.parts.restart(kill=restarts[number])

    def hasten(self) -> None:
        """What waits to be tried again waits no longer."""
        self.sender.lab.rows("UPDATE decant.subscriptions SET retry_at = now() WHERE retry_at > now() RETURNING id")

    def told(self) -> dict[str, list[tuple[int, float]]]:
        """What everybody who can be told was told, and when."""
        able = ("steady", "failing", "hanging", "redirecting")
        return {name: self.recipients[name].taken for name in able} | {"follower": self.follower.told}

    def wait(self) -> None:
        """Returns when the last revision has arrived everywhere."""
        deadline = time.monotonic() + LAST_SECONDS
        while not all(told and told[-1][0] == self.publications for told in self.told().values()):
            last = {name: told[-1:] for name, told in self.told().items()}
            assert time.monotonic() < deadline, f"the last revision did not arrive: {last}"
            self.hasten()
            time.sleep(PAUSE_SECONDS)

    def check(self) -> None:
        """Order, contents, and those who are told nothing."""
        for name, told in self.told().items():
            revisions = [revision for revision, _ in told]
            assert revisions == sorted(revisions), (name, revisions)
        steady = [revision for revision, _ in self.recipients["steady"].taken]
        assert sorted(set(steady)) == list(range(1, self.publications + 1)), "who never fails misses nothing"
        followed = [revision for revision, _ in self.follower.told]
        assert len(followed) == len(set(followed))
        for name, recipient in self.recipients.items():
            contents: dict[str, set[bytes]] = {}
            for asked in recipient.api.asked:
                contents.setdefault(asked.headers["webhook-id"], set()).add(asked.body)
                assert asked.path != ELSEWHERE
            assert all(len(bodies) == 1 for bodies in contents.values()), name
        assert len(self.recipients["gone"].api.asked) == 1
        assert self.recipients["private"].api.asked == []
        states = dict(self.sender.lab.rows("SELECT address, active FROM decant.subscriptions"))
        assert [active for address, active in states.items() if address.endswith("/gone")] == [False]
        said = self.sender.lab.rows("SELECT DISTINCT error FROM decant.deliveries WHERE error LIKE '%NETWORKS%'")
        assert len(said) == 1, said

    def describe(self) -> Iterator[str]:
        """Figures of the run."""
        for name, recipient in self.recipients.items():
            repeats = len(recipient.taken) - len({revision for revision, _ in recipient.taken})
            asked = len(recipient.api.asked)
            yield f"{name}: {asked:,} requests, {len(recipient.taken):,} taken, of these {repeats:,} repeats"
        yield f"follower: {len(self.follower.told):,} events in {self.follower.connected} connections"
        published = dict(self.sender.lab.rows("SELECT revision, published_at FROM decant.revisions"))
        for name in ("steady", "follower"):
            delays = [when - published[revision].timestamp() for revision, when in self.told()[name]]
            last = quantiles(delays, n=100)[-1]
            yield f"{name}: told after {median(delays) * 1000:.0f} ms (median), {last * 1000:.0f} ms (p99)"


def run_news(lab: Lab, publications: int, seed: int, say: Callable[[str], None], *, hangs: int = 5) -> None:
    """An AssertionError where the last revision did not arrive, or something arrived that must not."""
    run = NewsRun(lab, publications, seed, hangs)
    began = time.monotonic()
    with run.receiving():
        try:
            run.parts.start()
            run.follower.start()
            run.publish()
            say(f"{publications:,} publications in {time.monotonic() - began:.0f} s")
            run.wait()
        finally:
            run.follower.over.set()
            run.behaviour.over.set()
            run.parts.stop()
        run.follower.join(30)
    run.check()
    for line in run.describe():
        say(line)
