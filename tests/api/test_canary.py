"""Secrets with a mark on them, sent through a whole running service: none comes out anywhere."""

from __future__ import annotations

import base64
import json
import re
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from api.auth.api_keys import checksum, parse_key
from tests.support.lab import PEOPLE, Lab
from tests.support.processes import find_descendants
from tests.support.telemetry import DECANT, Collector, environment

CLOSED = PEOPLE.replace(", customProperties: [{property: anonymous, value: true}]", "")
RECORDS = "/data/people/v1/people/records"
LOGINS = {"DATABASE_URL": "owner", "INGEST_DATABASE_URL": "ingest", "READ_DATABASE_URL": "read",
          "WRITE_DATABASE_URL": "write"}  # fmt: skip
TABLES = ("api_keys", "audit_log", "idempotency_keys", "key_usage", "rate_leases", "loads", "receipts", "events")


def mark(name: str) -> str:
    """A secret that nothing else can look like."""
    return f"canary{name}{secrets.token_hex(12)}"


@dataclass
class Run:
    """A service that was given marked secrets, and every place where one of them may not be."""

    lab: Lab
    folder: Path
    canaries: dict[str, str] = field(default_factory=dict)
    places: dict[str, bytes] = field(default_factory=dict)

    def hide(self, name: str) -> str:
        """A new marked secret."""
        self.canaries[name] = mark(name.replace(" ", ""))
        return self.canaries[name]

    def note(self, place: str, content: bytes | str) -> None:
        """Adds what was found at a place."""
        self.places[place] = self.places.get(place, b"") + (
            content if isinstance(content, bytes) else content.encode()
        )

    def variables(self, collector: Collector) -> dict[str, str]:
        """The environment of a service with a password for each login, a secret and a pepper."""
        found = environment(self.lab, collector)
        for variable, login in LOGINS.items():
            url: str = getattr(self.lab.urls, login)
            found[f"DECANT_{variable}"] = url.replace("@", f":{self.hide(f'password of {login}')}@", 1)
        return found | {
            "DECANT_SECRET": self.hide("secret"),
            "DECANT_PEPPERS": json.dumps({"2": self.hide("pepper")}),
            "DECANT_RATE_LIMIT_ANONYMOUS": "off",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def leaks(self) -> list[str]:
        """Which secret is found where."""
        return [
            f"{name} in {place}"
            for name, text in self.canaries.items()
            for place, content in self.places.items()
            if any(form in content for form in disguises(text))
        ]


def disguises(text: str) -> set[bytes]:
    """A secret as it may be written; the middle of its Base64 is the same wherever it begins, but for three turns."""
    turns = (base64.b64encode(b"x" * turn + text.encode()).rstrip(b"=")[4:-4] for turn in range(3))
    return {text.encode(), quote(text).encode(), text.encode().hex().encode(), *turns}


@contextmanager
def serving(run: Run, variables: Mapping[str, str], *options: str) -> Iterator[tuple[str, int]]:
    """The running command's address and process id; what it says goes to files, and becomes places in the end."""
    said = {name: run.folder / f"serve.{name}" for name in ("stdout", "stderr")}
    with said["stdout"].open("wb") as out, said["stderr"].open("wb") as err:
        process = subprocess.Popen([DECANT, "serve", *options], env=variables, stdout=out, stderr=err)
    try:
        yield wait_for_address(said["stdout"], process), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        for name, path in said.items():
            run.note(f"serve's {name}", path.read_bytes())


def wait_for_address(stdout: Path, process: subprocess.Popen[bytes]) -> str:
    """The address that the service announces."""
    while (found := re.search(r"http://[\d.]+:\d+", stdout.read_text())) is None:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    return found[0]


@dataclass
class Caller:
    """Asks the service, and after each answer looks at what Postgres shows of it."""

    run: Run
    client: httpx.Client
    database: psycopg.Connection[Any]

    def ask(self, method: str, path: str, *, secret: bool = False, **request: Any) -> httpx.Response:
        """The answer, which is a place too unless it has to hold a secret."""
        answer = self.client.request(method, path, **request)
        if not secret:
            self.run.note(f"the answer to {method} {path[:40]}", str(answer.headers) + answer.text)
        shown = self.database.execute(
            "SELECT datname, usename, application_name, query FROM pg_stat_activity"
        ).fetchall()
        self.run.note("pg_stat_activity", repr(shown))
        return answer

    def send_raw(self, request: str) -> None:
        """Sends bytes that httpx would not."""
        address = (self.client.base_url.host, self.client.base_url.port or 0)
        with socket.create_connection(address, timeout=10) as wire:
            wire.sendall(request.encode())
            self.run.note("the answer to bad HTTP", wire.recv(65_536))


def keep_key(run: Run, name: str, key: str) -> str:
    """The key, whose secret part is a mark by itself."""
    parsed = parse_key(key)
    assert parsed is not None
    run.canaries[name] = parsed.secret
    return key


def make_wrong_key(run: Run, right: str) -> str:
    """The key with another secret, and the right checksum for it."""
    parsed = parse_key(right)
    assert parsed is not None
    secret = run.hide("wrong key")[:32].ljust(32, "0")
    run.canaries["wrong key"] = secret
    return f"dcnt_{parsed.id}_{secret}{checksum(parsed.id, secret)}"


def send_secrets(run: Run, caller: Caller, admin: str) -> None:
    """Requests with secrets in every place where somebody may put one."""
    wrong = make_wrong_key(run, admin)
    word = run.hide("malformed token")
    token = ".".join(
        base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in ('{"alg":"RS256"}', word, word)
    )
    for headers, status in (
        ({"Authorization": f"Bearer {admin}"}, 200),
        ({"X-API-Key": admin}, 200),
        ({"X-API-Key": wrong}, 401),
        ({"X-API-Key": admin[:-1]}, 401),
        ({"Authorization": f"Bearer {token}"}, 401),
        ({"Authorization": f"Bearer {word}"}, 401),
        ({"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}, 401),
        ({"Cookie": f"session={run.hide('cookie')}; key={admin}"}, 401),
        ({"X-API-Key": admin, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "x=1"}, 200),
    ):
        for path in (RECORDS, "/operations/loads", "/nowhere"):
            answer = caller.ask("GET", path, headers=headers)
            assert path != RECORDS or answer.status_code == status, (headers, answer.text)
    for path in (
        f"{RECORDS}?api_key={admin}",
        f"{RECORDS}?name={wrong}",
        f"{RECORDS}?access_token={token}",
        f"{RECORDS}?token={quote(word)}",
        f"{RECORDS}/{admin}",
        f"/keys/{admin}",
    ):
        for headers in ({}, {"X-API-Key": admin}):
            assert caller.ask("GET", path, headers=headers).status_code == 400, path
    caller.ask("GET", f"/livez?api_key={admin}")
    caller.ask("GET", f"/nowhere/{admin}")
    caller.ask("GET", f"/{admin}/{'x' * 9000}")
    caller.send_raw(f"GET / HTTP/1.1\r\nX-API-Key {admin}\r\n\r\n")
    caller.send_raw(f"{admin} / HTTP/1.1\r\nHost: x\r\n\r\n")


def make_and_use_keys(run: Run, caller: Caller, admin: str) -> None:
    """A key made, repeated, rotated and revoked over HTTP: shown once each time, and nowhere else."""
    headers = {"X-API-Key": admin, "Idempotency-Key": '"one"'}
    wanted = {"name": "partner", "scopes": ["people:read"]}
    made = caller.ask("POST", "/keys", secret=True, headers=headers, json=wanted).json()["data"]
    again = caller.ask("POST", "/keys", secret=True, headers=headers, json=wanted).json()["data"]
    key = keep_key(run, "made key", made["key"])
    assert again["key"] == key
    rotated = caller.ask("POST", "/keys/self/rotate", secret=True, headers={"X-API-Key": key}).json()["data"]
    keep_key(run, "rotated key", rotated["key"])
    assert caller.ask("GET", RECORDS, headers={"X-API-Key": rotated["key"]}).status_code == 200
    for path in (
        "/keys",
        f"/keys/{rotated['id']}",
        "/operations/audit",
        "/operations/usage",
        "/metrics",
        "/openapi.json",
    ):
        assert caller.ask("GET", path, headers={"X-API-Key": admin}).status_code == 200
    assert caller.ask("GET", "/keys/self", headers={"X-API-Key": key}).status_code == 200
    assert caller.ask("DELETE", f"/keys/{rotated['id']}", headers={"X-API-Key": admin}).status_code == 204


def provoke_errors(run: Run, caller: Caller, admin: str) -> None:
    """A table that is not as the contract says, keys that cannot be looked up, and no database at all."""
    headers = {"X-API-Key": admin}
    name = caller.database.info.dbname
    with psycopg.connect(run.lab.urls.owner.replace(f"/{name}", "/postgres"), autocommit=True) as elsewhere:
        for before, path, status, after in (
            ("ALTER TABLE people_v1.people RENAME age TO years", f"{RECORDS}?limit=7", 500,
             "ALTER TABLE people_v1.people RENAME years TO age"),
            ("ALTER TABLE decant.api_keys RENAME rate_limit TO other", "/keys", 500,
             "ALTER TABLE decant.api_keys RENAME other TO rate_limit"),
        ):  # fmt: skip
            caller.database.execute(before.encode())
            assert caller.ask("GET", path, headers=headers).status_code == status
            caller.database.execute(after.encode())
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        elsewhere.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename <> current_user",
            (name,),
        )
        assert caller.ask("GET", f"{RECORDS}?limit=8", headers=headers).status_code == 503
        assert caller.ask("GET", "/readyz").status_code == 503
        elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_no_secret_comes_out_anywhere(make_lab: Callable[..., Lab], tmp_path: Path, collector: Collector) -> None:
    lab = make_lab(CLOSED)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    run = Run(lab, tmp_path)
    variables = run.variables(collector)
    scopes = ("--scope", "keys:admin", "--scope", "people:read", "--scope", "ops:read")
    made = subprocess.run([DECANT, "keys", "create", "admin", *scopes, "--json"], env=variables, capture_output=True)
    run.note("keys create's stderr", made.stderr)
    admin = keep_key(run, "admin's key", json.loads(made.stdout)["key"])
    limits = httpx.Limits(max_keepalive_connections=0)  # both processes get requests
    with (
        serving(run, variables, "--workers", "2") as (url, pid),
        httpx.Client(base_url=url, timeout=20, limits=limits) as client,
    ):
        with psycopg.connect(lab.urls.owner, autocommit=True) as database:
            caller = Caller(run, client, database)
            for step in (send_secrets, make_and_use_keys, provoke_errors):
                step(run, caller, admin)
        family = {pid, *find_descendants(pid)}
        for member in family:
            run.note("the command lines", (Path("/proc") / str(member) / "cmdline").read_bytes())
        assert len(family) >= 3
    for table in TABLES:
        run.note(f"the table {table}", repr(lab.rows(f"SELECT t::text FROM decant.{table} AS t")))
    run.note("the spans", b"".join(collector.bodies))
    assert run.leaks() == []
    # Where there is nothing to be found, nothing is found: each place was really looked at.
    assert {span.name for span in collector.spans} >= {"GET /data/{product}/v{major}/{dataset}/records", "GET /keys"}
    assert b"Traceback" in run.places["serve's stderr"]
    assert b"FROM decant.api_keys" in run.places["pg_stat_activity"]
    assert b"POST /keys" in run.places["the table audit_log"]
    assert b"decant" in run.places["the command lines"]
    run.note("somewhere", f"x {base64.b64encode(admin.encode()).decode()} y")
    assert run.leaks() == ["admin's key in somewhere"]
