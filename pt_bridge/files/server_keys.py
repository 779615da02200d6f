"""What a PT server's clients know it by: its files, which must survive it.

A PT makes its keys when it finds none. One that is started again must find them, even
where somebody has deleted its folder meanwhile, or every client would be locked out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from pt_bridge.files.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

# A PT's keys are a few hundred bytes; what is larger is a log.
MAX_SIZE = 64 * 1024
MAX_FILES = 16


def read(folder: str) -> dict[str, bytes]:
    """Read a PT's files: the content of each, by its name.

    Links, folders and what is too large are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    files: dict[str, bytes] = {}
    for name in sorted(os.listdir(folder)):
        if len(files) == MAX_FILES:
            break
        with contextlib.suppress(OSError):
            content = _read(os.path.join(folder, name))
            if content:
                files[name] = content
    return files


def _read(path: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return b""
        content = file.read(MAX_SIZE + 1)
    return content if len(content) <= MAX_SIZE else b""


def _is_there(path: str) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def restore(folder: str, files: Mapping[str, bytes]) -> list[str]:
    """Write those files again that are gone or empty, 0600; what is there stays.

    Returns:
        Their names.

    Raises:
        OSError: one cannot be written.
    """
    restored = []
    for name, content in files.items():
        path = os.path.join(folder, name)
        if _is_there(path):
            continue
        write_whole(path, content)
        restored.append(name)
    return restored
