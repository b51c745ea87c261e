"""Who may speak: bearer tokens and client certificates, each of which stands for one device's name.

Where a server asks for neither, a device is who it says it is; that is for one's own machine, and is refused elsewhere
unless asked for by name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SidelightError, UsageError

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
"""A device's name: it becomes a folder's name on the server."""
LEAST_TOKEN = 16
"""Characters of the shortest token."""
AUTHORIZATION, DEVICE = "authorization", "sidelight-device"
"""Metadata of a call."""
BEARER = "Bearer "


class Refused(SidelightError):
    """A caller who is not let in, and whether it said who it is."""

    def __init__(self, reason: str, known: bool = False) -> None:
        super().__init__(reason)
        self.known = known


@dataclass(frozen=True)
class Access:
    """What a caller has to show."""

    tokens: Mapping[bytes, str] | None = None
    """By a token's SHA-256 the device's name; None where no token is asked for."""
    certificates: bool = False
    """Whether a client certificate names the device."""

    @property
    def open(self) -> bool:
        """Whether anybody may be anyone."""
        return self.tokens is None and not self.certificates

    def device(self, metadata: Mapping[str, str], certified: Sequence[str]) -> str:
        """The name of the caller, by a call's metadata and its certificate's common names; raises Refused."""
        names = set()
        if self.tokens is not None:
            names.add(self._by_token(metadata.get(AUTHORIZATION, "")))
        if self.certificates:
            if len(certified) != 1:
                raise Refused("the client certificate names no device; give one whose common name is the device's")
            names.add(certified[0])
        claimed = metadata.get(DEVICE)
        if self.open or claimed is not None:
            names.add(claimed or "")
        if len(names) != 1:
            raise Refused("the token, the certificate and the name given are of different devices", known=True)
        return checked_name(names.pop())

    def _by_token(self, header: str) -> str:
        digest = hashlib.sha256(header.removeprefix(BEARER).encode()).digest()
        assert self.tokens is not None
        if not header.startswith(BEARER) or digest not in self.tokens:
            raise Refused("no valid token came; give the device's own with --token-file")
        return self.tokens[digest]


def checked_name(name: str) -> str:
    """A device's name; raises Refused where it is none."""
    if not NAME.match(name):
        raise Refused("a device's name is 1 to 64 small letters, digits and hyphens; give such a --name")
    return name


def read_tokens(path: Path) -> dict[bytes, str]:
    """The tokens of a file, one `NAME TOKEN` a line, `#` before a remark; raises UsageError."""
    found: dict[bytes, str] = {}
    for number, line in enumerate(private_text(path, "tokens").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not NAME.match(words[0]) or len(words[1]) < LEAST_TOKEN:
            raise UsageError(
                f"{path} line {number} is no token; write a device's name and a token of {LEAST_TOKEN} characters or "
                "more, with a space between"
            )
        digest = hashlib.sha256(words[1].encode()).digest()
        if digest in found or words[0] in found.values():
            raise UsageError(f"{path} line {number} gives a name or a token a second time; give each device its own")
        found[digest] = words[0]
    if not found:
        raise UsageError(f"{path} holds no token; write one `NAME TOKEN` a line")
    return found


def read_token(path: Path) -> str:
    """The one token that a device's file holds; raises UsageError."""
    words = private_text(path, "token").split()
    if len(words) != 1 or len(words[0]) < LEAST_TOKEN:
        raise UsageError(f"{path} holds no token; write the one token of this device into it, and nothing else")
    return words[0]


def private_text(path: Path, what: str) -> str:
    """A secret's file; raises UsageError where it is missing, or where others may read it."""
    if not path.is_file():
        raise UsageError(f"the {what} file {path} does not exist; give one that does")
    if path.stat().st_mode & 0o077:
        raise UsageError(f"others may read {path}; let only yourself read it (chmod 600)")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8; give a text file") from None


def is_loopback(host: str) -> bool:
    """Whether a host's name or address reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_and_port(address: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets; raises UsageError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{address!r} is no address; give HOST:PORT, as in localhost:8470")
    return host, int(port)
