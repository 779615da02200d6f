"""What must not be told, and how it is found in what was told, however it is spelt.

This knows nothing of how pt-bridge takes it out, and looks for more than that.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# So much of a secret is a leak: letters and digits in a row, or all that it has.
PART = 10
IPV4 = re.compile(r"(?=(?<![\d.])((?:\d{1,3}\.){3}\d{1,3}))")
# What those of documentation begin with, whatever stands before it.
OURS = re.compile(
    r"192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|2001:0?db8:|c633:64|cb00:71"
)
IPV6 = re.compile(r"[0-9a-f]*:[0-9a-f:]*:[0-9a-f:.]*", re.IGNORECASE)


class Needles:
    """The secrets and the names that a haystack is searched for, and all addresses."""

    def __init__(self, *, names: Iterable[str] = (), secrets: Iterable[str] = ()):
        """Take what is known from the start.

        Args:
            names: of hosts.
            secrets: see `add`.
        """
        self._names = {name.lower().strip(".") for name in names}
        self._secrets: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Search for this, too; letters and digits are all that counts of it."""
        self._secrets |= {bare for each in _forms(secret) if (bare := _bare(each))}

    def add_bytes(self, secret: bytes) -> None:
        """Search for bytes, in the ways that text is made of them."""
        self.add(secret.hex())
        self.add(base64.b64encode(secret).decode())
        self.add(repr(secret)[2:-1])

    def secrets_in(self, text: str) -> set[str]:
        """Return the secrets of which a text holds a part."""
        hay = [_bare(form) for form in _forms(text)]
        return {
            secret
            for secret in self._secrets
            if any(part in form for part in _parts(secret) for form in hay)
        }

    def addresses_in(self, text: str) -> set[str]:
        """Return the names and the addresses that a text holds, but for loopback's."""
        found = set()
        for form in _forms(text):
            found |= {name for name in self._names if name in form}
            found |= {each for each in IPV4.findall(form) if _counts(each)}
            found |= {each for each in IPV6.findall(form) if _counts(each)}
            found |= set(OURS.findall(form))
        return found


def _forms(text: str) -> Iterator[str]:
    for form in {text, unquote(text), unquote(text).replace("\\", "")}:
        yield form.lower()


def _bare(text: str) -> str:
    return re.sub(r"[^0-9a-z]", "", text)


def _parts(secret: str) -> Iterator[str]:
    for start in range(max(1, len(secret) - PART + 1)):
        yield secret[start : start + PART]


def _counts(text: str) -> bool:
    """Return whether a text is an address that tells something."""
    text = text.rstrip(".")
    for each in (text, text.removesuffix(":"), text.rpartition(":")[0]):
        try:
            ip = ipaddress.ip_address(each)
        except ValueError:
            continue
        inner = getattr(ip, "ipv4_mapped", None) or ip
        return not (inner.is_loopback or inner.is_unspecified)
    return False
