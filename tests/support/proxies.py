"""The shipped nginx and PgBouncer, run with Debian's packages on 127.0.0.1."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.compose import API, DEPLOY, interpolate, read_compose, replace_all
from tests.support.site import make_certificate
from tests.support.tools import Nginx, free_port, get_tool, give, make_folder, run_nginx, run_tool


@contextmanager
def run_shipped_pgbouncer(postgres: int, variables: Mapping[str, str]) -> Iterator[int]:
    """The port of PgBouncer with the shipped configuration, and the logins that compose.yaml gives it."""
    port = free_port()
    with make_folder() as folder:
        logins = give_file(
            folder / "userlist.txt", interpolate(read_compose()["configs"]["pooler-logins"]["content"], variables)
        )
        changes = {
            "host=postgres port=5432": f"host=127.0.0.1 port={postgres}",
            "listen_addr = *": "listen_addr = 127.0.0.1",
            "listen_port = 6432": f"listen_port = {port}",
            "/etc/pgbouncer/userlist.txt": str(logins),
        }
        shipped = (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text(encoding="utf-8")
        config = give_file(folder / "pgbouncer.ini", replace_all(shipped, changes))
        with run_tool(get_tool("pgbouncer"), [str(config)], folder, port):
            yield port


def give_file(path: Path, text: str) -> Path:
    """A file that only the user who runs the servers can read."""
    path.write_text(text)
    path.chmod(0o600)
    return give(path)


@dataclass(frozen=True)
class Front:
    """The shipped nginx in front of a stack."""

    nginx: Nginx
    plain: int  # the port that leads to TLS
    certificate: str

    def client(self, **headers: str) -> httpx.Client:
        """A caller of its root, who trusts its certificate."""
        trust = ssl.create_default_context(cadata=self.certificate)
        base = f"https://127.0.0.1:{self.nginx.port}"
        return httpx.Client(base_url=base, verify=trust, timeout=60, headers=headers)


@contextmanager
def run_front(servers: Sequence[int], *, sub_path: str = "", port: int | None = None) -> Iterator[Front]:
    """nginx with the shipped configuration in front of processes at these ports, at its root or below a path."""
    certificate, key = make_certificate()
    plain = free_port()

    def write(listening: int, folder: Path) -> str:
        (folder / "certificate.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        shipped = {path.name: path.read_text(encoding="utf-8") for path in (DEPLOY / "nginx").glob("*.conf")}
        (folder / "decant-proxy.conf").write_text(shipped["decant-proxy.conf"])
        text = replace_all(
            shipped["decant.conf"],
            {
                "listen 443": f"listen 127.0.0.1:{listening}",
                "listen 80": f"listen 127.0.0.1:{plain}",
                "/etc/nginx/tls": str(folder),
                "/var/cache/nginx": f"{folder}/cache",
                **{f"{name}:8000": f"127.0.0.1:{each}" for name, each in zip(API, servers, strict=True)},
            },
        )
        if sub_path:
            below = shipped["decant-sub-path.conf"].replace("/data", sub_path)
            text, number = re.subn(r" +location = /metrics.*?\n    \}\n", below, text, flags=re.S)
            assert number == 1
        return replace_all(text, {"/etc/nginx/decant-proxy.conf": f"{folder}/decant-proxy.conf"})

    with run_nginx(write, port) as nginx:
        yield Front(nginx, plain, certificate.decode())
