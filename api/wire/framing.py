"""Checks the head of a request: anything that two parsers could read differently is refused. Pure.

The parser (llhttp) is strict about line ends, blanks, lengths and chunks. What it leaves to its user is judged here:
the protocol, the version, the method, the form of the target, Host, transfer codings and upgrades (RFC 9112, sections
3 and 6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from api.http.header_fields import Field

# The fields that decide where a request ends, and its target.
WATCHED = frozenset({b"host", b"content-length", b"transfer-encoding", b"upgrade"})
VERSIONS = ("1.1", "1.0")
BLANKS = b" \t"
NOTHING: frozenset[bytes] = frozenset()
HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::[0-9]{0,5})?"
)
ABSOLUTE = re.compile(rb"(?i)https?://([^/?#]*)(.*)", re.DOTALL)
# The end of a first line of the protocols that llhttp reads as well as HTTP.
FOREIGN = re.compile(rb" ([^ \r\n]+) +(?:RTSP|ICE)/")


def find_foreign_targets(seen: bytes) -> frozenset[bytes]:
    """The targets that may be meant for another protocol: the parser does not report them, so they are looked for.

    What only looks like a first line, in a header or a body, counts as well: its target could be read in two ways.
    """
    if b"RTSP/" not in seen and b"ICE/" not in seen:
        return NOTHING
    return frozenset(FOREIGN.findall(seen))


@lru_cache(maxsize=1000)
def is_host(value: bytes) -> bool:
    """Whether it is a host with or without a port, as a Host header has it."""
    return HOST.fullmatch(value.strip(BLANKS)) is not None


def check_head(method: bytes, version: str, fields: Sequence[Field], *, upgrades: bool) -> str | None:
    """The code of what is wrong with a head, None where nothing is. `fields` are those that are watched, in order.

    `upgrades` says that the parser takes all behind the head for another protocol.
    """
    if version == "1.1" and len(fields) == 1 and fields[0][0] == b"host" and method != b"CONNECT":
        return None if is_host(fields[0][1]) else "bad_request"  # as most are
    if version not in VERSIONS:
        return "version_not_supported"
    if method == b"CONNECT":
        return "not_implemented"
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(is_host, hosts)):
        return "bad_request"
    lengths = [value.strip(BLANKS) for name, value in fields if name == b"content-length"]
    codings = [value.strip(BLANKS).lower() for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        return "bad_request"
    if codings and version == "1.0":
        return "bad_request"  # its other end may not know of chunks
    if codings and codings != [b"chunked"]:
        return "not_implemented"
    if upgrades and (codings or (lengths and lengths[0].strip(b"0"))):
        return "bad_request"  # the parser would take the body for the other protocol
    return None


def read_target(method: bytes, url: bytes, fields: Sequence[Field]) -> tuple[bytes, bytes] | None:
    """(path, query) of a request's target, both as they came; None where it is no target that is taken.

    The absolute form names its host twice: a request whose two hosts differ could be meant for either.
    """
    if b"#" in url:
        return None
    if not url.startswith(b"/"):
        if url == b"*":
            return (url, b"") if method == b"OPTIONS" else None
        absolute = ABSOLUTE.fullmatch(url)
        hosts = [value for name, value in fields if name == b"host"]
        if absolute is None or not is_host(absolute[1]):
            return None
        if hosts and hosts[0].strip(BLANKS).lower() != absolute[1].lower():
            return None
        url = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    path, _, query = url.partition(b"?")
    return path, query
