"""Who may use a server: lists of networks, and a limit for each source. Pure.

Who is not let in is refused where the PT brings its connection, behind the PT's own
handshake. So only who has the cert can tell; who has not, sees the PT and nothing else.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from pt_bridge.formats.ip_ranges import unmapped

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from pt_bridge.formats.ip_ranges import IpRanges

    IP = IPv4Address | IPv6Address

NOT_ALLOWED = "not on the allow list"
DENIED = "on the deny list"
TOO_MANY = "too many connections from one source"
# Of IPv6 a customer has a network of this size, and any address in it (RFC 6177).
HOST_BITS = 64


class Admission:
    """Decides who may come in, and counts who is there.

    Attributes:
        allow: who may; None for everybody.
        deny: who may not, or None.
        max_per_source: how many connections one source may have, or None; the same for
            the whole run.
    """

    def __init__(
        self,
        *,
        allow: IpRanges | None = None,
        deny: IpRanges | None = None,
        max_per_source: int | None = None,
    ) -> None:
        """Create one; its lists may be replaced at any time."""
        self.allow = allow
        self.deny = deny
        self.max_per_source = max_per_source
        self._here: Counter[int] = Counter()

    def refuse_because(self, ip: IP | None) -> str | None:
        """Return why a client may not come in; None where it may.

        Args:
            ip: where it comes from; None where nobody knows, who then is on no list.
        """
        if self.allow is not None and (ip is None or self.allow.find(ip) is None):
            return NOT_ALLOWED
        if ip is None:
            return None
        if self.deny is not None and self.deny.find(ip) is not None:
            return DENIED
        most = self.max_per_source
        if most is not None and self._here[_source(ip)] >= most:
            return TOO_MANY
        return None

    def enter(self, ip: IP | None) -> None:
        """Count a connection."""
        if ip is not None and self.max_per_source is not None:
            self._here[_source(ip)] += 1

    def leave(self, ip: IP | None) -> None:
        """Count it no more."""
        if ip is None or self.max_per_source is None:
            return
        source = _source(ip)
        self._here[source] -= 1
        if not self._here[source]:
            del self._here[source]

    def __len__(self) -> int:
        """How many sources there are."""
        return len(self._here)


def _source(ip: IP) -> int:
    """Return a number for all addresses that are one source; no two have the same."""
    ip = unmapped(ip)
    if isinstance(ip, IPv6Address):
        return -1 - (int(ip) >> HOST_BITS)
    return int(ip)
