"""Entity tags (RFC 9110): what an answer's bytes depend on, as one short text.

A tag begins with the database's epoch and the revisions that were read, so that one of ours says which revision its
owner has seen. A tag of another epoch matches nothing: its revisions were other ones.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import blake2b, sha256

from api.http.header_fields import Field
from runtime.settings.settings import PROJECT_ROOT
from runtime.version import read_version

ANYTHING = "*"
DIGEST_BYTES = 15
OURS = re.compile(r'(?:W/)?"([0-9a-f]{8})-([0-9]{1,18}(?:\.[0-9]{1,18})*)-[A-Za-z0-9_-]{20}"')
ANY_TAG = re.compile(r'(?:W/)?"[^"]*"')
HEADER_LIMIT_CHARACTERS = 4000


def make_tag(epoch: str, revisions: Sequence[int], *facts: bytes) -> str:
    """The strong tag of an answer that read these revisions, in the dataset's and its related_views' order."""
    digest = blake2b(b"\0".join(facts), digest_size=DIGEST_BYTES, key=b"%s-%d" % (epoch.encode(), revisions[0]))
    for revision in revisions[1:]:
        digest.update(b"\0%d" % revision)
    return f'"{epoch}-{".".join(map(str, revisions))}-{urlsafe_b64encode(digest.digest()).decode()}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Whether an If-None-Match header names the tag; compared weakly, as that header is."""
    if if_none_match == tag:
        return True
    if if_none_match.strip() == ANYTHING:
        return True
    if len(if_none_match) > HEADER_LIMIT_CHARACTERS:
        return False
    return any(found.removeprefix("W/") == tag for found in ANY_TAG.findall(if_none_match))


def is_unmodified(headers: Mapping[str, str], fields: Iterable[Field]) -> bool:
    """Whether a request says, by If-Modified-Since alone, that its caller has the answer with these headers."""
    since = headers.get("if-modified-since")
    if since is None or "if-none-match" in headers:
        return False
    modified = dict(fields).get(b"last-modified", b"").decode()
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False


@lru_cache(maxsize=1000)
def newest_seen(if_none_match: str, epoch: str) -> tuple[int, ...]:
    """The revisions in the newest of this epoch's tags that the header names; empty where it names none."""
    if len(if_none_match) > HEADER_LIMIT_CHARACTERS:
        return ()
    found = [
        tuple(map(int, revisions.split("."))) for named, revisions in OURS.findall(if_none_match) if named == epoch
    ]
    return max(found, default=())


BUILT = tuple(PROJECT_ROOT / name for name in ("api", "catalog", "runtime"))  # what answers are made by


BUILT_OF = frozenset({".py", ".html", ".css", ".js", ".svg"})


@lru_cache
def build_digest() -> bytes:
    """What this build is: two processes with one of them answer with the same bytes."""
    digest = sha256(read_version().encode())
    for folder in BUILT:
        for file in sorted(folder.rglob("*")):
            if file.suffix in BUILT_OF:
                digest.update(file.read_bytes())
    return digest.digest()
