"""Run a program where the system refuses it something, as sandboxes do: seccomp(2).

Run as a program: ``restricted.py CALL=ERRNO ... -- COMMAND ...``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import subprocess
import sys

# The numbers of system calls, by machine.
NUMBERS = {
    "x86_64": {
        "memfd_create": 319,
        "flock": 73,
        "timerfd_create": 283,
        "timerfd_settime": 286,
    },
    "aarch64": {
        "memfd_create": 279,
        "flock": 32,
        "timerfd_create": 85,
        "timerfd_settime": 86,
    },
}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # prctl(2)
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # struct sock_filter's codes
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # linux/seccomp.h


ERRORS = {
    "memfd_create": errno.EPERM,
    "flock": errno.ENOLCK,
    "timerfd_create": errno.EPERM,
    "timerfd_settime": errno.EPERM,
}
NO_PROC = ["unshare", "-m", "sh", "-c", 'umount -l /proc; exec "$@"', "sh"]


def without(lacking: str) -> list[str]:
    """Return what to put before a command that is to do without something.

    Args:
        lacking: one of `ERRORS`, or ``/proc``.
    """
    import pytest  # not where this runs as a program

    if lacking == "/proc":
        command = NO_PROC
    else:
        command = [sys.executable, "-IS", __file__, f"{lacking}={ERRORS[lacking]}"]
        command.append("--")
    done = subprocess.run([*command, "/bin/true"], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"this machine does not let us do without {lacking}")
    return command


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _restrict(refused: dict[int, int]) -> None:
    code = [struct.pack("=HBBI", LOAD, 0, 0, 0)]  # the call's number
    for number, error in refused.items():
        code.append(struct.pack("=HBBI", JUMP_IF_EQUAL, 0, 1, number))
        code.append(struct.pack("=HBBI", RETURN, 0, 0, REFUSE | error))
    code.append(struct.pack("=HBBI", RETURN, 0, 0, ALLOW))
    program = _Program(len(code), b"".join(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if prctl(*arguments):
            sys.exit(f"prctl: {errno.errorcode[ctypes.get_errno()]}")


def main() -> None:
    """Restrict this process, and run the command in it."""
    end = sys.argv.index("--")
    numbers = NUMBERS[platform.machine()]
    given = (each.partition("=") for each in sys.argv[1:end])
    _restrict({numbers[name]: int(error) for name, _, error in given})
    command = sys.argv[end + 1 :]
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
