"""Put a file in its place, all of it at once or not at all."""

from __future__ import annotations

import contextlib
import os


def write_whole(path: str, content: bytes) -> None:
    """Write a file, mode 0600, whole or not at all.

    Raises:
        OSError: that cannot be done.
    """
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)  # whatever somebody has left there
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(new, flags, 0o600), "wb") as file:
        file.write(content)
    os.replace(new, path)
