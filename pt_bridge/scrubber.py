"""Takes secrets and addresses out of what pt-bridge says (pt-spec 4).

Loopback and wildcard addresses and port numbers stay: they tell nobody anything.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRUBBED = "[scrubbed]"
# Shorter values (iat-mode=0) are no secrets, and would be found everywhere.
MIN_SECRET = 6
# What PTs print of arguments that we never saw: a server's own cert, for one.
SECRET_ARGUMENT = re.compile(
    r"\b(cert|password|private-key|public-key|node-id|drbg-seed|shared-secret"
    r"|sqscreds|sqsqueue|url)(\\?=[\"']?)(?!\))(?:\\.|[^\s;,\"'\\])+"
)
USER_INFO = re.compile(r"://[^/\s]+@")
URL_HOST = re.compile(r"://(?:[^/@\s]*@)?([^/:?#\s]+)")
IPV4 = re.compile(r"(?<!\d)(?:\d{1,3}\.){3}\d{1,3}(?!\d)")
IPV6 = re.compile(r"(?<!\w)[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
# A text with this many colons is no time of day.
MANY_COLONS = 5
# C0, C1, line ends, what turns the direction of text around, lone surrogates.
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def one_line(text: str) -> str:
    """Escape control characters, so that a text can neither forge nor hide a line."""
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


class Scrubber:
    """A function from a text to the same without what must not be seen."""

    def __init__(self, *, addresses: bool = True) -> None:
        """Make one that knows no secrets yet.

        Args:
            addresses: whether addresses and host names are taken out, too.
        """
        self._addresses = addresses
        self._secrets: set[str] = set()
        self._names: set[str] = set()
        self._known = re.compile(r"(?!)")

    def add(self, *, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        """Learn what must not be seen.

        Args:
            secrets: the values of a transport's arguments, passwords: they never get
                through, however they are escaped; the hosts of URLs are names.
            names: host names, treated like addresses.
        """
        for secret in [part for each in secrets for part in (each, *each.split(","))]:
            if len(secret) >= MIN_SECRET:
                self._secrets |= _spellings(secret)
            names = [*names, *URL_HOST.findall(secret)]
        if self._addresses:
            self._names |= {name for name in names if name and name != "localhost"}
        patterns = [re.escape(text) for text in self._secrets]
        patterns += [rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in self._names]
        # The longest first: one secret may begin with another.
        self._known = re.compile(
            "|".join(sorted(patterns, key=len, reverse=True)) or r"(?!)", re.IGNORECASE
        )

    def __call__(self, text: str) -> str:
        """Give the text without secrets and, unless told otherwise, addresses."""
        text = self._known.sub(SCRUBBED, text)
        text = SECRET_ARGUMENT.sub(rf"\1\2{SCRUBBED}", text)
        text = USER_INFO.sub(f"://{SCRUBBED}@", text)
        if self._addresses:
            text = IPV6.sub(_scrub_ipv6, text)
            text = IPV4.sub(_scrub_ipv4, text)
        return text


def _spellings(secret: str) -> set[str]:
    """Give a secret as it is, and as options, SOCKS, ARGS and TOR_PT_* escape it.

    In options, and where tor writes them, a value's '=' may stand bare.
    """
    return {
        secret,
        *(
            re.sub(rf"([{special}])", r"\\\1", secret)
            for special in (r"\\=;", r"\\;", r"\\=,", r"\\:;", r"\\:;=")
        ),
    }


def _scrub_ipv4(match: re.Match[str]) -> str:
    try:
        ip = ipaddress.IPv4Address(match[0])
    except ValueError:  # 300.1.1.1, or leading zeros: better safe
        return SCRUBBED
    return match[0] if ip.is_loopback or ip.is_unspecified else SCRUBBED


def _scrub_ipv6(match: re.Match[str]) -> str:
    token = match[0].rstrip(".")
    # "dial tcp 2001:db8::1: refused", and "::" as it is
    if token.endswith(":") and (token.endswith(":::") or not token.endswith("::")):
        token = token[:-1]
    rest = match[0][len(token) :]
    try:
        ip = ipaddress.IPv6Address(token)
    except ValueError:
        looks_like_one = "::" in token or token.count(":") >= MANY_COLONS
        return SCRUBBED + rest if looks_like_one else match[0]
    inner = ip.ipv4_mapped or ip
    return match[0] if inner.is_loopback or inner.is_unspecified else SCRUBBED + rest
