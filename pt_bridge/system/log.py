"""Logging to stderr and, if asked, to a file: scrubbed, and never in the way.

Levels by what the operator must do: an error ends pt-bridge or a whole side of it; a
warning is worth a look; INFO is start, ready and stop, and nothing per connection;
DEBUG is for whoever reads the code next to it.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import logging
import os
import select
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING

from pt_bridge.errors import StateError
from pt_bridge.system.scrubber import log_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("pt_bridge")
# Where no log is started (doctor), nobody is told; Python would write to stderr.
logger.addHandler(logging.NullHandler())

# The name of the tunnel that a line is about, where one process has several; what a
# task or a callback logs, it logs in the context in which it was created.
TUNNEL: contextvars.ContextVar[str] = contextvars.ContextVar("TUNNEL", default="")

STDERR = 2
# A pipe takes this much whole or not at all (pipe(7)): a full one never blocks us.
MAX_LINE = select.PIPE_BUF
PREFIXES = {
    logging.ERROR: "error: ",
    logging.WARNING: "warning: ",
    logging.DEBUG: "debug: ",
}
# sd-daemon(3); what a person has asked for (`report`) is information.
PRIORITIES = {
    logging.ERROR: "<3>",
    logging.WARNING: "<4>",
    logging.DEBUG: "<7>",
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
        self._transport = transport
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its LF."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        prefix = PREFIXES.get(record.levelno, "")
        about = TUNNEL.get() or self._transport
        name = f"pt-bridge[{about}]" if about else "pt-bridge"
        # Scrubbed last, so that nothing that was put together gets around it.
        line = log_line(f"{name}: {prefix}{text}", self._scrub)
        return self._begin(record) + line

    def _begin(self, record: logging.LogRecord) -> str:
        """Return what goes before the line."""
        return ""


class FileFormatter(Formatter):
    """Puts the time first, for a file has nobody else to note it."""

    def _begin(self, record: logging.LogRecord) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S%z ", time.localtime(record.created))


class JournalFormatter(Formatter):
    """Puts sd-daemon(3)'s priority first, which the journal takes off again."""

    def _begin(self, record: logging.LogRecord) -> str:
        return priority(record.levelno)


def priority(level: int) -> str:
    """Return the journal's word for a level: ``<4>`` for a warning."""
    return PRIORITIES.get(level, "<6>")


def is_journal(descriptor: int, variables: Mapping[bytes, bytes]) -> bool:
    """Whether the journal reads a descriptor, as systemd's JOURNAL_STREAM tells.

    A program that we were started by may have put something else in its place.
    """
    device, _, inode = variables.get(b"JOURNAL_STREAM", b"").partition(b":")
    found = os.fstat(descriptor)
    return (device, inode) == (b"%d" % found.st_dev, b"%d" % found.st_ino)


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


def say(text: str, level: int | None = None) -> None:
    """Write a line to stderr, if that can be done now.

    Args:
        text: the line.
        level: how serious it is, for the journal, where that reads it.
    """
    descriptor = open_stderr()
    if level is not None and is_journal(STDERR, os.environb):
        text = priority(level) + text
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
        """Create a handler that owns the descriptor."""
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
        """Open the file.

        Raises:
            StateError: it cannot be written.
        """
        self._path = path
        super().__init__(_open_file(path))

    def reopen(self) -> None:
        """Open the file anew, which somebody has moved away (logrotate).

        Raises:
            StateError: it cannot be written; then the old one is, as before.
        """
        descriptor = _open_file(self._path)
        with self.lock or contextlib.nullcontext():
            self._descriptor, old = descriptor, self._descriptor
        os.close(old)


def _open_file(path: str) -> int:
    # Of a FIFO that nobody reads we hold the other end, too, so that nothing waits.
    flags = os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        try:
            return os.open(path, flags | os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return os.open(path, flags | os.O_RDWR)
    except OSError as error:
        raise StateError(
            f"cannot write the log file {path}: {os.strerror(error.errno or 0).lower()}"
        ) from None


def start(level: str, transport: str, scrub: Callable[[str], str]) -> None:
    """Send everything that is logged to stderr, and what would go there by itself.

    Other libraries' records, Python's warnings, exceptions that end a thread.

    Args:
        level: one of `option_values.LOG_LEVELS`.
        transport: the transport's name, or "" where it is not known.
        scrub: what takes secrets and addresses out.
    """
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable
    root = logging.getLogger()
    root.setLevel(level.upper())
    in_journal = is_journal(STDERR, os.environb)
    made = JournalFormatter if in_journal else Formatter
    _add(DescriptorHandler(open_stderr()), made(transport, scrub))


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    logger.error("a bug ended a thread", exc_info=failure.exc_value)


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    logger.error("a bug was met where nobody hears of it", exc_info=failure.exc_value)


def add_file(path: str, transport: str, scrub: Callable[[str], str]) -> None:
    """Log to a file, too.

    Raises:
        StateError: it cannot be written.
    """
    _add(FileHandler(path), FileFormatter(transport, scrub))


def reopen_files() -> None:
    """Open anew what `add_file` has opened.

    Raises:
        StateError: one cannot be written; it is left as it was.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, FileHandler):
            handler.reopen()


def tell_files(text: str, level: int) -> None:
    """Log to what `add_file` has opened, and not to stderr."""
    record = logger.makeRecord(logger.name, level, __file__, 0, text, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, FileHandler):
            handler.handle(record)


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


def _add(handler: logging.Handler, formatter: Formatter) -> None:
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
