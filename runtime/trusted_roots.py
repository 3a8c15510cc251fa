"""The certificate authorities that outgoing connections trust, read once instead of for each client."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path

import certifi
import httpx


def trust_context() -> ssl.SSLContext:
    """The TLS context of a client: one for all, until the file of authorities is another one.

    As httpx chooses it: SSL_CERT_FILE, SSL_CERT_DIR, or the authorities that come with Python's packages.
    """
    file = os.environ.get("SSL_CERT_FILE")
    if not file and os.environ.get("SSL_CERT_DIR"):
        return httpx.create_ssl_context()  # a folder is read when it is needed
    path = Path(file or certifi.where())
    facts = path.stat()
    return read_authorities(path, facts.st_mtime_ns, facts.st_ino, facts.st_size)


@lru_cache(maxsize=1)
def read_authorities(path: Path, _modified: int, _inode: int, _size: int) -> ssl.SSLContext:
    """A context with the authorities of a file, which takes some 20 ms."""
    return ssl.create_default_context(cafile=path)
