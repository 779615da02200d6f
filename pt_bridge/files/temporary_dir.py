"""A folder for a while, and for one pt-bridge: a client's PT keeps its state there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from pt_bridge.errors import SHORTAGES, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLIENT_PREFIX = "pt-bridge-client-"
ATTEMPTS = 10
# What a file system says that has no locks, NFS for one, or a sandbox.
NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@contextlib.contextmanager
def temporary(
    variables: Mapping[bytes, bytes], *, for_programs: bool = False
) -> Iterator[str]:
    """Create a folder for the block; remove what a crash has left of others.

    Args:
        variables: our environment.
        for_programs: whether programs are to be run there: where the system lets none
            be run (noexec), it is not made then, and in HOME where no other is left.

    Raises:
        StateError: there is nowhere to make it.
    """
    with contextlib.ExitStack() as stack:
        folder, why, number = None, "", 0
        parents, wanted = _parents(variables), "that this user may write to"
        if for_programs:
            parents += _absolute(variables.get(b"HOME", b""))
            parents = [each for each in parents if not _is_noexec(each)]
            why, wanted = "all are mounted noexec", "from which programs may be run"
        for parent in parents:
            _remove_stale(parent)
        # Another client that starts may take a new folder for a stale one: once more.
        for parent in [each for each in parents for _ in range(ATTEMPTS)]:
            try:
                folder = stack.enter_context(_held(parent))
                break
            except OSError as error:
                number = error.errno or 0
                why = os.strerror(number).lower()
        if folder is None:
            failure = StateError(
                f"there is nowhere to make a temporary folder ({why}): set TMPDIR to "
                f"one {wanted}"
            )
            failure.is_temporary = number in SHORTAGES
            raise failure
        yield folder


def _parents(variables: Mapping[bytes, bytes]) -> list[str]:
    names = (b"RUNTIME_DIRECTORY", b"XDG_RUNTIME_DIR", b"TMPDIR")
    given = [variables.get(name, b"") for name in names]
    return _absolute(*given, b"/tmp", b"/var/tmp")


def _absolute(*paths: bytes) -> list[str]:
    return [os.fsdecode(path) for path in paths if path.startswith(b"/")]


def _is_noexec(folder: str) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_NOEXEC)
    except OSError:  # it is not there
        return True


@contextlib.contextmanager
def _held(parent: str) -> Iterator[str]:
    """Create a folder and hold its lock, which tells others that it is in use."""
    folder = tempfile.mkdtemp(prefix=CLIENT_PREFIX, dir=parent)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            lock(descriptor)
            if not os.fstat(descriptor).st_nlink:
                raise FileNotFoundError  # another one took it for stale
            yield folder
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: str) -> None:
    """Remove the folders of clients that were killed: ours, and locked by nobody."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(CLIENT_PREFIX):
                _remove_unlocked(entry.path)


def _remove_unlocked(folder: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                lock(descriptor)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock a folder, if nobody has; where the file system has no locks, do without.

    Raises:
        OSError: BlockingIOError where somebody has.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
