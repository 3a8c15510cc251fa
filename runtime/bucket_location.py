"""Where objects lie in a store that speaks S3, read so that two places can be compared part by part. Pure.

What is written is held to characters that an address cannot read in two ways: a bucket called `a/../b` would be
another bucket once it is in an address, and a name such as `a b` ends the client's process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

SCHEME = "s3://"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~-]*)*)",
    re.IGNORECASE,
)
DEFAULT_PORTS = {"http": 80, "https": 443}
MAGIC = re.compile(r"[*?\[]")
MOST_ESCAPES = 3  # times that a name is unescaped, for gateways that do so more than once


@dataclass(frozen=True)
class BucketLocation:
    """A store, and the parts of an address there: bucket, folders, name; the path of the endpoint comes first."""

    store: str  # such as https://host:443; empty for the one that the environment names, AWS as a rule
    parts: tuple[str, ...]

    def holds(self, other: BucketLocation) -> bool:
        """Whether the other is this place, or lies below it."""
        return self.store == other.store and self.parts == other.parts[: len(self.parts)]


def read_location(text: str) -> BucketLocation:
    """What an operator lists: s3://bucket/folder, or https://host/bucket/folder; ValueError where it is neither."""
    if text.startswith(SCHEME):
        bucket, _, folder = text.removeprefix(SCHEME).partition("/")
        return BucketLocation("", (check_bucket(bucket), *check_parts(folder, "the folder")))
    store, parts = read_endpoint(text)
    if not parts:
        raise ValueError(f"{text!r} does not name a bucket")
    return BucketLocation(store, parts)


def make_location(bucket: str, folder: str, endpoint: str, path: str) -> BucketLocation:
    """What a contract has read, all variables filled in; of a pattern what all its names lie below.

    ValueError where a part of it could mean another place than it says.
    """
    store, parts = read_endpoint(endpoint) if endpoint else ("", ())
    names = []
    for name in check_parts(path, "the path", patterns=True):
        if MAGIC.search(name):
            break
        names.append(name)
    return BucketLocation(store, (*parts, check_bucket(bucket), *check_parts(folder, "the folder"), *names))


def name_location(bucket: str, folder: str, endpoint: str) -> str:
    """How an operator lists it."""
    return "/".join(filter(None, (endpoint.rstrip("/") or f"{SCHEME[:-1]}", bucket, folder)))


def read_endpoint(text: str) -> tuple[str, tuple[str, ...]]:
    """The store at an address, alike however it is spelt, and the parts of its path."""
    found = ENDPOINT.fullmatch(text)
    if found is None:
        raise ValueError("the store's address must be of the form https://host, without a login, a query or escapes")
    scheme = found["scheme"].lower()
    port = int(found["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port < 2**16:
        raise ValueError("the store's address has an invalid port")
    return f"{scheme}://{found['host'].lower()}:{port}", check_parts(found["path"], "the store's address")


def check_bucket(name: str) -> str:
    """The bucket's name; ValueError where it could be anything else."""
    if not BUCKET.fullmatch(name) or ".." in name:
        raise ValueError("the bucket's name must consist of letters, digits, '.', '-' and '_'")
    return name


def check_parts(path: str, what: str, *, patterns: bool = False) -> tuple[str, ...]:
    """The parts of a path; ValueError where one leads up, plainly or escaped, or is a pattern where none may be."""
    parts = tuple(part for part in path.split("/") if part)
    if not patterns and MAGIC.search(path):
        raise ValueError(f"{what} must not contain a pattern")
    if any(leads_elsewhere(part) for part in parts):
        raise ValueError(f"{what} must not contain '.' or '..' as a name")
    return parts


def leads_elsewhere(part: str) -> bool:
    """Whether somebody on the way might take a part for `.` or `..`."""
    for _ in range(MOST_ESCAPES):
        if {".", ".."} & set(re.split(r"[/\\]", part)):
            return True
        part = unquote(part)
    return False
