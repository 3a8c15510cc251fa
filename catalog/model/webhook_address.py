"""Addresses that webhooks may have. Pure: what a name leads to is checked when something is sent."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from runtime.public_addresses import Address, Network, is_public, without_cover

ADDRESS_CHARACTERS = 2000
PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
TOPIC = re.compile(r"topic:(?P<broker>[A-Za-z0-9_-]{1,64})/(?P<topic>[A-Za-z0-9._-]{1,249})", re.ASCII)
LOOPBACK_NAME = "localhost"


def read_topic(text: str) -> tuple[str, str] | None:
    """The broker and the topic of an address such as topic:bus/orders.events; None of any other address."""
    found = TOPIC.fullmatch(text)
    return (found["broker"], found["topic"]) if found else None


def allowed_networks(networks: Sequence[str], *, development: bool) -> tuple[Network, ...]:
    """The networks, beside public ones, in which webhooks may be received."""
    return (*map(ipaddress.ip_network, networks), *(LOOPBACK if development else ()))


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    inner = without_cover(address)
    return any(inner.version == network.version and inner in network for network in networks)


def refuse_address(text: str, networks: Sequence[Network]) -> str | None:
    """Why a webhook may not have this address, in words; None where it may."""
    if len(text) > ADDRESS_CHARACTERS or not PRINTABLE.fullmatch(text):
        return f"must be an address of up to {ADDRESS_CHARACTERS:,} ASCII characters without blanks"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "must be an address such as https://hooks.example/decant"
    if parts.scheme not in {"https", "http"} or not host or port == 0:
        return "must be an address such as https://hooks.example/decant"
    if parts.username is not None or parts.password is not None or "#" in text:
        return "must have no user, password or fragment"
    try:
        literal: Address | None = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    within = literal is not None and is_within(literal, networks)
    if literal is not None and not (within or is_public(literal)):
        return "must not lead into a private network: DECANT_WEBHOOK_NETWORKS lists those that are allowed"
    # A name can lead into an allowed network: where it does, is seen when something is sent.
    may_be_within = within or (literal is None and bool(networks))
    if parts.scheme == "http" and not may_be_within:
        return "must begin with https://"
    return None
