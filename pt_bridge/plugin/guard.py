"""Ends a plugin when we have died, where the kernel does not.

A program whose file gives it rights that this user has not (capabilities, a set-user-ID
bit) does not die with us: the kernel forgets PR_SET_PDEATHSIG as it starts. Plugins do
not look at their stdin. So a shell waits on a pipe that we hold: when we are no more,
it reads the end of it, and kills the plugin, whose user is still ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

CAPABILITIES = "security.capability"  # capabilities(7)
SHELL = "/bin/sh"
# A plugin leads the process group that it is in.
WAIT_AND_KILL = 'read -r _; kill -s KILL -- "-$1"'
LIMIT = 0.4  # seconds that a killed shell may take to be gone


def is_needed(path: str) -> bool:
    """Return whether a program that we start outlives us."""
    if os.geteuid() == 0:  # its file gives root no rights
        return False
    try:
        is_another_users = os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)
        return bool(is_another_users or os.getxattr(path, CAPABILITIES))
    except OSError:  # none; or a file system that knows of none
        return False


class Guard:
    """Kills a process group when we have died; ends with its block before that."""

    def __init__(self, group: int) -> None:
        """Prepare one; entering the block starts it.

        Args:
            group: the number of the group, whose first process we have not reaped
                before the block ends.
        """
        self._group = group

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            OSError: the system does not start it.
        """
        self._shell = subprocess.Popen(
            [SHELL, "-c", WAIT_AND_KILL, SHELL, str(self._group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            process_group=0,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and have it kill nobody."""
        self._shell.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._shell.wait(LIMIT)
        assert self._shell.stdin is not None  # a pipe
        self._shell.stdin.close()
