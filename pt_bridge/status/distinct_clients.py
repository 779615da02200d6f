"""How many different clients there were, without knowing who: pure but for a key."""

from __future__ import annotations

import os

MOST = 65_536  # clients that are counted; more are "or more"
DIGEST_SIZE = 8  # bytes
KEY_SIZE = 32  # bytes


class DistinctClients:
    """Counts addresses by what only this run can make of them, and shows none."""

    def __init__(self) -> None:
        """Create one that has seen nobody."""
        self._key = os.urandom(KEY_SIZE)
        self._seen: set[bytes] = set()

    def add(self, host: str) -> bool:
        """Count a client by its IP address, once.

        Returns:
            Whether it was counted now.
        """
        # A client needs none of OpenSSL, which comes with it and takes 4 MiB.
        import hashlib

        before = len(self._seen)
        if before < MOST:
            data = host.encode()
            made = hashlib.blake2b(data, digest_size=DIGEST_SIZE, key=self._key)
            self._seen.add(made.digest())
        return len(self._seen) > before

    def __str__(self) -> str:
        """Return how many there were."""
        more = " or more" if len(self._seen) == MOST else ""
        return f"{len(self._seen)}{more}"

    def __len__(self) -> int:
        """Return how many there were, up to `MOST`."""
        return len(self._seen)
