"""Network addresses by who may have them: public ones, this machine's, those of networks that are nobody else's."""

from __future__ import annotations

import ipaddress

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PUBLIC = "a public address"


def is_public(address: Address) -> bool:
    """Whether an address is anybody's: not of this machine or network, and no cover for one that is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def describe(address: Address) -> str:
    """What kind of address it is."""
    if is_public(address):
        return PUBLIC
    address = without_cover(address)
    if address.is_loopback:
        return "this machine"
    return "a link-local address" if address.is_link_local else "a non-public address"


def without_cover(address: Address) -> Address:
    """The address that an IPv4 address written as IPv6 is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
