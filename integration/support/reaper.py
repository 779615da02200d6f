#!/usr/bin/env python3
"""Be the init of a container, or a user's systemd: adopt what its parent has left.

    reaper.py COMMAND...

Runs the command in a session of its own, as they do, and ends when nothing is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def main() -> None:
    """Start the command, and bury whatever ends."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, setsid=True)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
