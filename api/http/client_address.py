"""Client address of a request: the peer's, or the one that trusted proxies forward."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import Scope

CALLERS_MAXIMUM = 10_000  # whose leases a process remembers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Who is at the other end: the peer, or whom trusted proxies say that they speak for.

    Of X-Forwarded-For the last address counts that is no trusted proxy's: what precedes it, anybody may have
    written. IPv6 addresses count by their /64, which one caller has whole.
    """
    host = (scope.get("client") or ("",))[0]
    if not trusted:
        return name_address(host)
    peer = parse_address(host)
    if peer is not None and is_trusted(peer, trusted):
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        for text in reversed(b",".join(lines).decode("latin-1").split(",") if lines else []):
            hop = parse_address(text.strip())
            if hop is None:
                break  # garbage: the part that is certain follows it
            peer = hop
            if not is_trusted(hop, trusted):
                break
    return name_address(str(peer) if peer is not None else "")


@lru_cache(maxsize=CALLERS_MAXIMUM)
def name_address(text: str) -> str:
    """What an address counts as."""
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if address is not None else "unknown"


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is; one of IPv4 in the form of IPv6 as what it is."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted(address: ipaddress.IPv4Address | ipaddress.IPv6Address, trusted: Sequence[Network]) -> bool:
    """Whether an address is a trusted proxy's."""
    return any(address.version == network.version and address in network for network in trusted)
