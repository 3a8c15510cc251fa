"""A service behind nginx, below a path and with TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.certificates import make_certificate
from tests.support.lab import Lab
from tests.support.sockets import serving
from tests.support.tools import Nginx, free_port, run_nginx

CONFIG = """
proxy_cache_path {folder}/cache keys_zone=answers:1m;
map $http_upgrade $passed_on {{ default upgrade; "" ""; }}
upstream service {{ server 127.0.0.1:{service}; keepalive 2; }}
server {{
  listen 127.0.0.1:{port} ssl;
  ssl_certificate {folder}/certificate.pem;
  ssl_certificate_key {folder}/key.pem;
  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  add_header X-Cache $upstream_cache_status always;
  location /sub/ {{
    proxy_set_header Connection "";
    proxy_cache answers;
    proxy_pass http://service/;
  }}
  location /upgrading/ {{
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $passed_on;
    proxy_request_buffering off;
    proxy_pass http://service/;
  }}
}}
"""


@dataclass(frozen=True)
class Site:
    """The service as the world reaches it."""

    lab: Lab
    nginx: Nginx
    client: httpx.Client  # knows the path
    base: str  # DECANT_PUBLIC_URL
    trust: ssl.SSLContext
    service: tuple[str, int]  # what nginx asks


@contextmanager
def open_site(load: Callable[[str], Lab]) -> Iterator[Site]:
    """What `load` makes of the address, behind nginx under /sub."""
    port = free_port()
    base = f"https://127.0.0.1:{port}/sub"
    lab = load(base)
    certificate, key = make_certificate()
    # As `decant serve` serves: how requests are read is part of what is tried.
    with serving(lab) as (host, service):

        def write(port: int, folder: Path) -> str:
            (folder / "certificate.pem").write_bytes(certificate)
            (folder / "key.pem").write_bytes(key)
            return CONFIG.format(port=port, folder=folder, service=service)

        trust = ssl.create_default_context(cadata=certificate.decode())
        with run_nginx(write, port) as nginx, httpx.Client(base_url=base, verify=trust, timeout=60) as client:
            yield Site(lab, nginx, client, base, trust, (host, service))
