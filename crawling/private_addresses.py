"""Which addresses are of the open internet: no link of a shop reaches a machine of the local network.

In: an IP address. Out: whether it is public. What is not known to be is private.
"""

from __future__ import annotations

import ipaddress
import socket

PRIVATE = "its host is at a private address (--allow-private)"
UNICAST = ipaddress.ip_network("2000::/3")  # all that is given out of IPv6 for the open internet
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its addresses hold an IPv4 address
NOT_PUBLIC = (
    ipaddress.ip_network("3fff::/20"),  # for examples, which older Pythons do not know
    ipaddress.ip_network("168.63.129.16/32"),  # a cloud's own services, for each of its machines
)
ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # what stands before an IPv4 address in the lower half


class PrivateAddress(ValueError):
    """The host is at an address that is not of the open internet."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet. An IPv6 address may hold an IPv4 address;
    then that must be public, too."""
    ip = ipaddress.ip_address(address)
    if any(ip in network for network in NOT_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    held = held_address(ip)
    if held is not None and not is_public(str(held)):
        return False
    if ip.ipv4_mapped or ip in NAT64:
        return True
    return ip in UNICAST and ip.is_global


def held_address(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address holds, None if it holds none."""
    lowest = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip in NAT64 or int(ip) >> 32 & 0xFFFF_FFFF in ISATAP:
        return lowest
    if ip.ipv4_mapped or ip.sixtofour:
        return ip.ipv4_mapped or ip.sixtofour
    return ip.teredo[1] if ip.teredo else None  # (server, client)


def check_name(host: str | None) -> None:
    """Raise PrivateAddress if a host's name is known here and has an address that is not public."""
    try:
        entries = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the proxy may know it
        return
    if not all(is_public(str(entry[4][0])) for entry in entries):
        raise PrivateAddress(PRIVATE)
