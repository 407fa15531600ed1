"""Which addresses of the internet protocol lead to this machine, its network or nowhere."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_BLOCKED = {
    ipaddress.ip_network(network): reason
    for network, reason in (
        # RFC 6890's registry of special-purpose addresses and its successors, as of 2024. Written out
        # because what `ipaddress` calls global differs between patch releases of Python 3.11.
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "an address inside a provider's network"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
}

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IANA has given out of IPv6; the rest is loopback, link-local, private, multicast or reserved."""

_BLOCKED_V6 = {
    ipaddress.ip_network(network): reason
    for network, reason in (
        ("2001::/23", "a reserved address"),  # Teredo, ORCHID, benchmarking
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
    )
}

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def blocked_as(address: str) -> str:
    """Why an address must not be fetched from; "" when it may be. IPv4 inside IPv6 counts as what is inside.

    >>> blocked_as("192.168.1.1"), blocked_as("::ffff:127.0.0.1"), blocked_as("93.184.216.34")
    ('a private address', 'a loopback address', '')
    """
    return _reason(ipaddress.ip_address(address))


def _reason(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return next((reason for network, reason in _BLOCKED.items() if address in network), "")
    inside = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inside is not None:
        return _reason(inside)
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address not in _GLOBAL_UNICAST:
        return "a private or reserved address"
    return next((reason for network, reason in _BLOCKED_V6.items() if address in network), "")
