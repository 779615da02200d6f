"""Where a command's text comes from: the command line, a file, or standard input."""

from __future__ import annotations

import os
import select
import time

from pt_bridge.errors import UsageError

STDIN = 0
STANDARD_INPUT = "-"
# More than any of our forms may have (`ss_config.MAX_LENGTH`, in UTF-8).
MAX_SIZE = 512 * 1024  # bytes
PIECE = 64 * 1024
# A person may be typing, or searching for what to paste.
PATIENCE = 600.0  # seconds, from the first look to the end of file


def read(argument: str, *, patience: float = PATIENCE) -> str:
    """Return the text that an argument means.

    Args:
        argument: the text itself; ``-`` for standard input; or a file's name, which
            begins with ``/`` or ``.``, ends in ``.json``, or is that of a file here.
        patience: how long the text may take to come, in seconds.

    Returns:
        The text; bytes that are not UTF-8 as surrogates (PEP 383).

    Raises:
        UsageError: it cannot be read, is too long, or does not end in time.
    """
    if argument == STANDARD_INPUT:
        return _read(STDIN, "standard input", time.monotonic() + patience)
    names = argument.split(" ")
    if len(names) > 1 and all(map(os.path.isfile, names)):
        raise UsageError(f"these are {len(names)} files: give one")
    if argument.startswith("~/"):  # a shell leaves it so between quotes
        argument = os.path.expanduser(argument)
    if not (_is_path(argument) or os.path.isfile(argument)):
        return argument
    try:
        descriptor = os.open(argument, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot read {argument}: {error.strerror}") from None
    try:
        return _read(descriptor, argument, time.monotonic() + patience)
    finally:
        os.close(descriptor)


def _is_path(argument: str) -> bool:
    """Whether a text is a file's name: none of our forms begins or ends like one."""
    if argument.startswith(("/", "./", "../")):
        return "\n" not in argument
    return argument.endswith(".json") and not any(
        mark in argument for mark in ("=", "{", "://", "\n")
    )


def _read(descriptor: int, name: str, deadline: float) -> str:
    data = b""
    try:
        while len(data) <= MAX_SIZE:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise UsageError(f"the end of {name} did not come in time")
            piece = os.read(descriptor, PIECE)
            if not piece:
                return data.decode("utf-8", "surrogateescape")
            data += piece
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    raise UsageError(f"{name} is longer than {MAX_SIZE // 1024} KiB")
