#!/usr/bin/env python3
"""Run a program as a hardened unit's: without new privileges, nor code that it writes.

    confined.py PROGRAM ARGUMENT...

Linux's own NoNewPrivileges= and MemoryDenyWriteExecute=; what it starts inherits both.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

PR_SET_NO_NEW_PRIVS = 38  # prctl(2)
PR_SET_MDWE = 65  # Linux 6.3
PR_MDWE_REFUSE_EXEC_GAIN = 1


def main() -> None:
    """Give both up, see that they are gone, and become the program."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    nothing = ctypes.c_ulong(0)
    for option in (PR_SET_NO_NEW_PRIVS, PR_SET_MDWE):
        if prctl(option, ctypes.c_ulong(1), nothing, nothing, nothing):
            sys.exit(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
    try:
        mmap.mmap(-1, 1, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except PermissionError:
        os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - a wrapper
    sys.exit("memory may still be written and executed")


if __name__ == "__main__":
    main()
