"""Connections to public addresses only: no link of a shop reaches a machine of the local network.

In: the name of a host, from a URL that a shop gave. Out: a socket to one of its addresses, if all
of them are public. Each name is looked up once, and the address that was checked is the one that is
used, so that a name server can't slip another in between.

    python crawl.py --feed products.tsv
    python crawl.py --feed products.tsv --allow-private
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import requests
import urllib3

NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its addresses hold an IPv4 address
PRIVATE = "its host is at a private address (--allow-private)"


class PrivateAddress(ValueError):
    """The host is at an address that is not of the open internet."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet. An IPv6 address may hold an IPv4 address;
    then both must be."""
    ip = ipaddress.ip_address(address)
    if ip.version == 6:
        held = held_address(ip)
        if held is not None and not is_public(str(held)):
            return False
    return ip.is_global and not ip.is_multicast


def held_address(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address holds, None if it holds none."""
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.ipv4_mapped or ip.sixtofour:
        return ip.ipv4_mapped or ip.sixtofour
    return ip.teredo[1] if ip.teredo else None  # (server, client)


def connect_to_public(conn: urllib3.connection.HTTPConnection) -> socket.socket:
    """A socket to the host of a urllib3 connection. Looks the name up once, checks every address
    and connects to one of them. Raises PrivateAddress if one of them is not public."""
    try:
        entries = socket.getaddrinfo(conn.host, conn.port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(conn.host, conn, error) from None
    except UnicodeError as error:  # no name of a host can be made of it
        raise urllib3.exceptions.NameResolutionError(
            conn.host, conn, socket.gaierror(str(error))
        ) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not all(map(is_public, addresses)):
        raise PrivateAddress(PRIVATE)
    problem: OSError | None = None
    for address in addresses:
        try:
            return urllib3.util.connection.create_connection(
                (address, conn.port), conn.timeout, conn.source_address, conn.socket_options
            )
        except OSError as error:
            problem = error
    if isinstance(problem, TimeoutError):
        raise urllib3.exceptions.ConnectTimeoutError(conn, "no connection in time")
    raise urllib3.exceptions.NewConnectionError(conn, str(problem))


class PublicConnection(urllib3.connection.HTTPConnection):
    _new_conn = connect_to_public


class PublicTLSConnection(urllib3.connection.HTTPSConnection):
    _new_conn = connect_to_public


class PublicPool(urllib3.HTTPConnectionPool):
    ConnectionCls = PublicConnection


class PublicTLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = PublicTLSConnection


class PublicAdapter(requests.adapters.HTTPAdapter):
    """A transport of the requests library that connects to public addresses only."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": PublicPool, "https": PublicTLSPool}
