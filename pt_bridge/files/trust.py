"""Who could have changed a file: nobody but root and we ourselves may.

Whoever may write to a file, or to a folder on the way to it, decides what is found
under its name; and so does the owner of any of them, or of a link on the way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = 0
# Android's user and group "system", who own the folder that apps live in.
SYSTEM = frozenset({1000} if hasattr(sys, "getandroidapilevel") else ())
MAX_LINKS = 40  # as the kernel has it (path_resolution(7))


def unsafe_because(path: str, *, system: frozenset[int] = SYSTEM) -> str:
    """Return what lets somebody else decide where a path leads; "" for nothing.

    Args:
        path: an absolute one. What it leads to is looked at, and every folder and
            symbolic link on the way there.
        system: users and groups besides root that made this system.

    Returns:
        The end of a sentence, which names the place and what to do.
    """
    try:
        # In a user namespace that root is not in, its files seem to be somebody's.
        owners = {ROOT, os.geteuid(), os.stat("/").st_uid, *system}
        for step, found in _steps(path):
            if found.st_uid not in owners:
                option = "-h " if stat.S_ISLNK(found.st_mode) else ""
                return (
                    f"{step} belongs to another user ({found.st_uid}): have root run "
                    f"'chown {option}root {step}', or put it elsewhere"
                )
            if others := _writers(found, system):
                return f"others may write to {step}: run 'chmod {others}-w {step}'"
    except OSError as error:
        return f"{error.filename} cannot be looked at: {error.strerror}"
    return ""


def behind_link_of_root(folder: str, *, only_look: bool = False) -> str:
    """Return where systemd's link leads; any other path as it is, to be judged so.

    With DynamicUser=, systemd keeps the folder in /var/lib/private, and makes a link to
    it in /var/lib. Nobody but root may have had a say in where that leads.
    """
    with contextlib.suppress(OSError):
        found = os.lstat(folder)
        is_of_root = stat.S_ISLNK(found.st_mode) and found.st_uid == ROOT
        target = os.path.join(os.path.dirname(folder), os.readlink(folder))
        # What root looks at is another user's, and all of the way there root's own.
        only_look = only_look and not os.path.islink(target)
        way = os.path.dirname(target) if only_look else folder
        if is_of_root and not unsafe_because(way):
            return os.path.realpath(folder, strict=True)
    return folder


def _writers(found: os.stat_result, system: frozenset[int]) -> str:
    """Name those that may write, as chmod does: "g", "o", both or none."""
    mode = found.st_mode
    if stat.S_ISLNK(mode):
        return ""
    # In such a folder, only its owner changes what is his.
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
        return ""
    group = "g" if mode & stat.S_IWGRP and found.st_gid not in system else ""
    return group + ("o" if mode & stat.S_IWOTH else "")


def _steps(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Walk to what a path leads to, as the kernel does, and give each step.

    Raises:
        OSError: there is no such step, or it cannot be looked at.
    """
    here, links = "/", 0
    yield here, os.lstat(here)
    todo = path.split("/")
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        step = os.path.dirname(here) if part == ".." else os.path.join(here, part)
        found = os.lstat(step)
        yield step, found
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(step)
            todo = target.split("/") + todo
            here = "/" if target.startswith("/") else here
        else:
            here = step
