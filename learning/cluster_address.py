"""Where a Dask cluster is, and whether it may be spoken to.

In: an address, as --cluster takes it, and a folder of keys. Out: the address of a scheduler that
answers, and what speaks TLS to it. A scheduler runs whatever it is sent, so one on another computer
is spoken to by TLS, or only if somebody says that its network is safe.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from common.foreign_files import open_regular, parse_json
from common.terminal import Undone, UserError

KEYS = ("ca.pem", "cert.pem", "key.pem")  # in the folder of --cluster-security
LOCAL = re.compile(r"local:([1-9]\d{0,3})")
ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")
TIMEOUT = 30  # seconds for connecting
MOST_DESCRIBED = 1_000_000  # bytes of a scheduler file
# What OpenSSL says of an answer that is not TLS; the second since its version 3.2.
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
NO_DASK = "--cluster needs Dask: python -m pip install -r requirements-cluster.txt"


class Options(NamedTuple):
    """Where the cluster is, and how it is spoken to."""

    address: str  # tcp://host:port, tls://host:port, a scheduler file, or local:N
    security: str | None = None  # a folder with the KEYS
    insecure: bool = False  # whether another computer may be spoken to without TLS
    send_pictures: bool = False


def check(options: Options) -> str:
    """The address of the scheduler, or local:N. Raises UserError if Dask is missing, or if it is no
    address that may be spoken to."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UserError(NO_DASK) from None
    if LOCAL.fullmatch(options.address):
        return options.address
    address = options.address
    if "://" not in address and not address.startswith("local:"):
        address = scheduler_of(address)
    address = address.rstrip("/")
    parts = ADDRESS.fullmatch(address)
    if not parts:
        if ADDRESS.fullmatch(f"{address}:8786"):
            raise UserError(f"--cluster {address} lacks its port: usually it is {address}:8786")
        raise UserError(
            f"--cluster takes tcp://host:8786, tls://host:8786, a scheduler file or local:2, not "
            f"{address}"
        )
    scheme, host = parts[1], parts[2].strip("[]")
    if scheme == "tls" and not options.security:
        raise UserError(
            f"{address} wants keys: name the folder of {', '.join(KEYS)} with --cluster-security"
        )
    if scheme == "tcp" and options.security:
        raise UserError(f"{address} is without TLS: with --cluster-security, name tls://{host}:...")
    if scheme == "tcp" and not options.insecure and not is_here(host):
        raise UserError(
            f"{address} is another computer, where anybody who reaches the port could run programs: "
            "use TLS (docs/cluster.md), or --insecure-cluster if you trust all of that network"
        )
    return address


def hostname(address: str) -> str | None:
    """The host of an address, None if it has no host or no port."""
    try:
        parts = urlsplit(address)
        return parts.hostname if parts.port else None
    except ValueError:
        return None


def scheduler_of(path: str) -> str:
    """The address in a file that a scheduler has written. Raises UserError if there is none."""
    try:
        with open_regular(path, MOST_DESCRIBED, follow=True) as file:
            address = parse_json(file.read())["address"]
    except FileNotFoundError:
        if ADDRESS.fullmatch(f"tcp://{path}"):
            raise UserError(f"--cluster {path} lacks its protocol: write tcp://{path}") from None
        raise UserError(
            f"there is no scheduler file {path}: start dask scheduler with --scheduler-file, or "
            "give --cluster an address such as tcp://host:8786 or local:2"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        address = None
    if not isinstance(address, str):
        raise UserError(f"{path} is no scheduler file: dask scheduler --scheduler-file writes one")
    return address


def is_here(host: str) -> bool:
    """Whether a host is this computer and no other one is reached by its name."""
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # the latter if it can be no name
        return False
    return all(is_own_address(address) for address in found)


def is_own_address(address: str) -> bool:
    """Whether an address belongs to this computer. What it would send there then comes from there,
    too. Whether it can listen there says nothing: some computers may listen at any address."""
    asked = ipaddress.ip_address(address)
    if asked.is_loopback or asked.is_unspecified:
        return True
    family = socket.AF_INET6 if asked.version == 6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))  # which sends nothing
        return ipaddress.ip_address(sock.getsockname()[0]) == asked
    return False


def security_of(folder: str) -> Any:
    """distributed.Security of the KEYS in a folder. Raises UserError if one is missing."""
    from distributed import Security

    paths = [os.path.join(folder, name) for name in KEYS]
    for path in paths:
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise UserError(
                f"--cluster-security {folder} must hold {', '.join(KEYS)}, and {path} can't be read"
            )
    ca, cert, key = paths
    tls_of(folder)
    return Security(
        tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
    )


def tls_of(folder: str) -> ssl.SSLContext:
    """What speaks TLS by the KEYS in a folder. As in Dask, names of hosts do not count. Raises
    UserError if the keys can't be used."""
    ca, cert, key = (os.path.join(folder, name) for name in KEYS)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        context.check_hostname = False
        context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UserError(
            f"the keys in --cluster-security {folder} can't be used ({one_reason(error)}): make "
            "them anew (docs/cluster.md)"
        ) from None
    return context


def knock(address: str, security: str | None) -> None:
    """See whether a scheduler answers at an address: it speaks first, by the length of what it says.
    Dask itself would wait for ever, or take what another service says for a length. Raises UserError
    or Undone."""
    parts = ADDRESS.fullmatch(address)
    assert parts  # it was checked
    try:
        with socket.create_connection((parts[2].strip("[]"), int(parts[3])), TIMEOUT) as plain:
            speaks = tls_of(security).wrap_socket(plain) if security else plain
            said = speaks.recv(8)
    except ssl.SSLError as error:
        if error.reason in NO_TLS:
            raise UserError(
                f"what listens at {address} does not speak TLS: is it tcp://?"
            ) from None
        raise UserError(
            f"the scheduler at {address} and the keys in {security} do not fit together "
            f"({error.reason or one_reason(error)}): use the folder that it was started with"
        ) from None
    except TimeoutError:
        said = b""
    except (OSError, OverflowError, UnicodeError) as error:
        if isinstance(error, ConnectionResetError):
            said = b""
        else:
            raise Undone(
                f"no scheduler answers at {address} ({getattr(error, 'strerror', None) or error}): "
                "start one as docs/cluster.md says, and run the same command again"
            ) from None
    if len(said) < 8 or int.from_bytes(said, "little") > MOST_DESCRIBED:
        other = "tcp" if security else "tls"
        raise UserError(
            f"what listens at {address} is no scheduler that speaks so: see whether it is "
            f"{other}://, or name another port"
        )


def one_reason(error: BaseException) -> str:
    """The first line of what an error says."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
