"""Logging to stderr and, if asked, to a file: scrubbed, and never in the way.

Levels by what the operator must do: an error ends pt-bridge or a whole side of it; a
warning is worth a look; INFO is start, ready and stop, and nothing per connection;
DEBUG is for whoever reads the code next to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import sys
import threading
from typing import TYPE_CHECKING

from pt_bridge.errors import StateError
from pt_bridge.scrubber import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("pt_bridge")

STDERR = 2
# A pipe takes this much whole or not at all (pipe(7)): a full one never blocks us.
MAX_LINE = select.PIPE_BUF
PREFIXES = {
    logging.ERROR: "error: ",
    logging.WARNING: "warning: ",
    logging.DEBUG: "debug: ",
}
# The severities of a PT's LOG lines (pt-spec 3.3.4).
SEVERITIES = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


class Formatter(logging.Formatter):
    """Makes ``pt-bridge[obfs4]: warning: text`` of a record, on one line."""

    def __init__(self, transport: str, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._name = f"pt-bridge[{transport}]" if transport else "pt-bridge"
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its LF."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        prefix = PREFIXES.get(record.levelno, "")
        # Scrubbed last, so that nothing that was put together gets around it.
        return one_line(self._scrub(f"{self._name}: {prefix}{text}"))


def open_stderr() -> int:
    """Open stderr in a way that never blocks us, nor changes it for those who share it.

    Returns:
        A descriptor of our own, or stderr itself where that is a file, which never
        blocks, or cannot be opened again.
    """
    mode = os.fstat(STDERR).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{STDERR}", flags)
    return STDERR


def say(text: str) -> None:
    """Write a line to stderr, if that can be done now."""
    descriptor = open_stderr()
    try:
        with contextlib.suppress(OSError):
            _write(descriptor, text)
    finally:
        _close(descriptor)


def _close(descriptor: int) -> None:
    if descriptor != STDERR:
        os.close(descriptor)


def _write(descriptor: int, text: str) -> None:
    line = text.encode("utf-8", "backslashreplace") + b"\n"
    if len(line) > MAX_LINE:
        whole = line[: MAX_LINE - 4].decode("utf-8", "ignore")
        line = whole.encode() + b"...\n"
    if _is_writable(descriptor):
        os.write(descriptor, line)


def _is_writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


class DescriptorHandler(logging.Handler):
    """Writes to a file descriptor, and gives a line up rather than wait or fail."""

    def __init__(self, descriptor: int) -> None:
        """Make a handler that owns the descriptor."""
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, if that can be done now."""
        try:
            text = self.format(record)
        except Exception:  # a mistake in the call
            self.handleError(record)
            return
        try:
            _write(self._descriptor, text)
        except OSError:  # nobody reads it, or the disk is full: tunnels come first
            pass

    def close(self) -> None:
        """Close the descriptor, if it is not stderr itself."""
        _close(self._descriptor)
        super().close()


class FileHandler(DescriptorHandler):
    """The same for a file of its own, made 0600 and never through a symbolic link."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise StateError(
                f"cannot write the log file {path}: "
                f"{os.strerror(error.errno or 0).lower()}"
            ) from None
        super().__init__(descriptor)


def start(level: str, transport: str, scrub: Callable[[str], str]) -> None:
    """Send everything that is logged to stderr, and what would go there by itself.

    Other libraries' records, Python's warnings, exceptions that end a thread.

    Args:
        level: one of `own_options.LOG_LEVELS`.
        transport: the transport's name, or "" where it is not known.
        scrub: what takes secrets and addresses out.
    """
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable
    root = logging.getLogger()
    root.setLevel(level.upper())
    _add(root, DescriptorHandler(open_stderr()), transport, scrub)


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    logger.error("a bug ended a thread", exc_info=failure.exc_value)


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    logger.error("a bug was met where nobody hears of it", exc_info=failure.exc_value)


def add_file(path: str, transport: str, scrub: Callable[[str], str]) -> None:
    """Log to a file, too.

    Raises:
        StateError: it cannot be written.
    """
    _add(logging.getLogger(), FileHandler(path), transport, scrub)


def report(text: str) -> None:
    """Log what a person has asked for, whatever the level."""
    logger.critical("%s", text)


def stop() -> None:
    """Take back what `start` and `add_file` did."""
    logging.captureWarnings(False)
    threading.excepthook = threading.__excepthook__
    sys.unraisablehook = sys.__unraisablehook__
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, DescriptorHandler):
            root.removeHandler(handler)
            handler.close()


def _add(
    root: logging.Logger,
    handler: logging.Handler,
    transport: str,
    scrub: Callable[[str], str],
) -> None:
    handler.setFormatter(Formatter(transport, scrub))
    root.addHandler(handler)
