"""What runs on two hosts without a shared disk, and between them: processes that can be killed and started again."""

from __future__ import annotations

import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.endurance.hosts_model import CONTRACT
from tests.support.buckets import LOGIN, make_bucket
from tests.support.lab import Lab
from tests.support.tools import Bouncer, run_pgbouncer, wait_for_port
from tests.support.waiting import wait_until

DECANT = Path(sys.executable).with_name("decant")
BUCKETS = Path(sys.executable).with_name("moto_server")
LASTING_PORTS = (20_000, 32_000)  # below those that the kernel gives to outgoing connections: free after a kill, too
START_SECONDS = 180.0  # of a process, beside whatever else runs on the machine
HOSTS = (1, 2)
ERROR_LINE = re.compile(r"\S+ error (.+)|Traceback.*")
LAST_WORDS = 1_500  # characters of a log


def lasting_port() -> int:
    """A port that a process can listen on again after it was killed."""
    for port in random.sample(range(*LASTING_PORTS), 1_000):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@dataclass
class Program:
    """A process that is started again and again; what it says is in one log."""

    name: str
    host: int
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; whoever needs it waits until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> str | None:
        """Ends it as a power cut would; its last words where it had ended by itself."""
        assert self.process is not None
        words = self.log.read_text(errors="replace")[-LAST_WORDS:] if self.is_dead() else None
        self.process.kill()
        self.process.wait()
        return words

    def is_dead(self) -> bool:
        """Whether it has ended."""
        return self.process is not None and self.process.poll() is not None


@dataclass
class Pooler:
    """PgBouncer in transaction mode, always at one port."""

    server: EmbeddedPostgres
    port: int = field(default_factory=lasting_port)
    running: ExitStack = field(default_factory=ExitStack)
    bouncer: Bouncer | None = None

    def start(self) -> None:
        """Starts it; it listens when this returns."""
        self.bouncer = self.running.enter_context(run_pgbouncer(self.server, pool_size=8, port=self.port))

    def kill(self) -> str | None:
        """Ends it as a power cut would; what to say of it where it had ended by itself."""
        assert self.bouncer is not None
        ended = self.bouncer.process.poll()
        self.bouncer.process.kill()
        self.running.close()
        return None if ended is None else f"exit status {ended}"


@dataclass
class Site:
    """Everything that runs, and the product."""

    lab: Lab
    folder: Path
    endpoint: str
    source: str  # the address of the folder that holds the items' batches
    store: str  # the address of the bucket that the hosts share
    buckets: subprocess.Popen[bytes]
    pooler: Pooler
    programs: list[Program]
    addresses: list[str]

    def environment(self, host: int) -> dict[str, str]:
        """The variables of a host: its home is its own."""
        lab = self.lab
        own = {name: value for name, value in os.environ.items() if not name.startswith(("DECANT_", "OTEL_"))}
        assert self.pooler.bouncer is not None
        return own | LOGIN | {
            "DECANT_HOME": str(self.home(host)),
            "DECANT_CONTRACTS": str(lab.settings.contracts),
            "DECANT_DATABASE_URL": lab.urls.owner,
            "DECANT_INGEST_DATABASE_URL": lab.urls.ingest,
            "DECANT_READ_DATABASE_URL": self.pooler.bouncer.through(lab.urls.read),
            "DECANT_WRITE_DATABASE_URL": lab.urls.write,
            "DECANT_STORE_URL": self.store,
            "DECANT_SECRET": lab.settings.secret.get_secret_value() if lab.settings.secret else "",
            "DECANT_RATE_LIMIT_ANONYMOUS": "off",
            "DECANT_RATE_LIMIT_DEFAULT": "off",
            "DECANT_QUERY_TIMEOUT_MS": "60000",  # whatever else runs on the machine
            "DECANT_WORKER_POLL_SECONDS": "2",
        }  # fmt: skip

    def home(self, host: int) -> Path:
        """The folder of a host."""
        return self.folder / f"host-{host}"

    def on_host(self, host: int) -> list[Program]:
        """The processes of a host."""
        return [each for each in self.programs if each.host == host]

    @contextmanager
    def buckets_paused(self) -> Iterator[None]:
        """The bucket server stands still, and its connections hang: what it holds would not survive a kill."""
        self.buckets.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.buckets.send_signal(signal.SIGCONT)

    def wait_until_ready(self) -> None:
        """Returns when both APIs can serve."""
        for address in self.addresses:
            wait_until(partial(is_ready, address), START_SECONDS)

    def log_errors(self) -> Iterator[str]:
        """Lines of the logs that speak of errors."""
        for program in self.programs:
            for line in program.log.read_text(errors="replace").splitlines():
                if found := ERROR_LINE.match(line):
                    yield f"{program.name}: {found[1] or found[0]}"


def is_ready(address: str) -> bool:
    """Whether an API says that it can serve."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{address}/readyz", timeout=START_SECONDS).status_code == 200
    return False


@contextmanager
def open_site(make_lab: Callable[..., Lab], server: EmbeddedPostgres, folder: Path) -> Iterator[Site]:
    """Two hosts, started; they share a database, a pooler before it, and a bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        endpoint, buckets = stack.enter_context(run_bucket_server(folder))
        source, store = (make_bucket(endpoint, secrets.token_hex(8)) for _ in range(2))
        contract = CONTRACT.format(bucket=source.rpartition("/")[2], endpoint=endpoint)
        lab = make_lab(contract, store_url=store, secret=secrets.token_hex(32))
        pooler = Pooler(server)
        stack.enter_context(stopping(pooler))
        pooler.start()
        site = Site(lab, folder, endpoint, f"{source}/in", store, buckets, pooler, [], [])
        for host in HOSTS:
            port = lasting_port()
            site.addresses.append(f"http://127.0.0.1:{port}")
            commands = {"api": ["serve", "--host", "127.0.0.1", "--port", str(port)], "worker": ["worker"]}
            for name, words in commands.items():
                log = folder / f"{name}-{host}.log"
                program = Program(f"{name} {host}", host, [str(DECANT), *words], site.environment(host), log)
                site.programs.append(program)
                stack.callback(kill_quietly, program)
                program.start()
        yield site


@contextmanager
def stopping(pooler: Pooler) -> Iterator[None]:
    """Ends the pooler whichever of its lives it is in."""
    try:
        yield
    finally:
        pooler.running.close()


def kill_quietly(program: Program) -> None:
    """Ends a process if it still runs."""
    if program.process is not None:
        program.process.kill()
        program.process.wait()


@contextmanager
def run_bucket_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that speaks S3, as a process that can stand still; its address."""
    port, log = lasting_port(), folder / "buckets.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(BUCKETS), "-H", "127.0.0.1", "-p", str(port)], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        wait_for_port(process, port, log)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
