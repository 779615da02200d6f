"""Where a PT keeps its state: a server for good, a client for a while."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING

from pt_bridge.errors import SHORTAGES, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pt_bridge.config import Config

OURS = "pt-bridge"
CLIENT_PREFIX = "pt-bridge-client-"
ATTEMPTS = 10
CLIENT_OPTIONS = "client-options.txt"
LOGS = "log"
PRIVATE = 0o700
WRITABLE_BY_OTHERS = 0o022
HELP = (
    "under systemd run 'systemctl edit UNIT' and add '[Service]' and "
    "'StateDirectory=pt-bridge'; elsewhere set HOME or XDG_STATE_HOME to a folder that "
    "this user may write to"
)


def base(variables: Mapping[bytes, bytes]) -> str:
    """Give the state directory; it need not exist yet.

    Raises:
        StateError: no variable names a folder to put it in.
    """
    given = {key: os.fsdecode(value) for key, value in variables.items()}
    systemd = given.get(b"STATE_DIRECTORY", "").partition(":")[0]
    if systemd.startswith("/"):
        # StateDirectory=pt-bridge names the folder that root uses without systemd.
        is_ours = os.path.basename(systemd) == OURS
        return systemd if is_ours else os.path.join(systemd, OURS)
    xdg = given.get(b"XDG_STATE_HOME", "")
    if xdg.startswith("/"):
        return os.path.join(xdg, OURS)
    if os.geteuid() == 0:
        return os.path.join("/var/lib", OURS)
    home = given.get(b"HOME") or _home_of_user()
    if home.startswith("/") and home.strip("/"):
        return os.path.join(home, ".local/state", OURS)
    raise StateError(
        f"there is no folder to keep the server's keys in, HOME being '{home}': {HELP}"
    )


def _home_of_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def persistent(config: Config, variables: Mapping[bytes, bytes]) -> str:
    """Make the folder that outlives us: a server's, or the one that `state=` names.

    Returns:
        Its absolute path.

    Raises:
        StateError: it cannot be made, or others could have put something into it.
    """
    folders = _folders(config, variables)
    for folder in folders:
        _private(folder)
    return folders[-1]


def look(config: Config, variables: Mapping[bytes, bytes]) -> tuple[str, bool]:
    """Do as `persistent` does, and leave nothing.

    Returns:
        The folder's absolute path, and whether it is there.

    Raises:
        StateError: `persistent` would raise it.
    """
    folders = _folders(config, variables)
    for folder in folders:
        if not os.path.lexists(folder):
            _see_that_it_can_be_made(folder)
            return folders[-1], False
        _private(folder)
    return folders[-1], True


def _folders(config: Config, variables: Mapping[bytes, bytes]) -> list[str]:
    """Give the folders that must be ours alone, each in the one before."""
    if config.state is not None and os.path.isabs(config.state):
        return [config.state]
    folders = [base(variables)]
    name = config.state or f"{config.transport}-{config.remote_port}"
    for part in filter(None, name.split("/")):
        folders.append(os.path.join(folders[-1], part))
    return folders


def _see_that_it_can_be_made(folder: str) -> None:
    parent = os.path.dirname(folder)
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    try:  # only this tells, of read-only file systems and of root's rights, too
        os.rmdir(tempfile.mkdtemp(prefix=CLIENT_PREFIX, dir=parent))
    except OSError as error:
        raise cannot_write(folder, error) from None


def _private(folder: str) -> str:
    """Make a folder that only we can write to, or see that it is one (SE-02)."""
    try:
        _make(folder)
        found = os.lstat(folder)
    except OSError as error:
        raise cannot_write(folder, error) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StateError(
            f"the state directory {folder} is a link or another user's: set "
            f"STATE_DIRECTORY or XDG_STATE_HOME to a folder of this user's own"
        )
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise StateError(
            f"others may write to the state directory {folder}: run 'chmod 700 "
            f"{folder}'"
        )
    return folder


def _make(folder: str) -> None:
    """Make a folder and those above it that are missing, 0700 each (SE-01)."""
    parent = os.path.dirname(folder)
    if not os.path.exists(parent):
        _make(parent)
    os.makedirs(folder, PRIVATE, exist_ok=True)


def cannot_write(path: str, error: OSError) -> StateError:
    """Say why the state directory cannot be written, and what to do."""
    why = os.strerror(error.errno or 0).lower()
    made = StateError(f"cannot write the state directory {path}: {why}; {HELP}")
    made.may_pass = error.errno in SHORTAGES
    return made


@contextlib.contextmanager
def temporary(variables: Mapping[bytes, bytes]) -> Iterator[str]:
    """Make a folder that is gone after the block; remove what a crash left of others.

    Raises:
        StateError: there is nowhere to make it.
    """
    with contextlib.ExitStack() as stack:
        folder, why, number = None, "", 0
        parents = _parents(variables)
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
                f"one that this user may write to"
            )
            failure.may_pass = number in SHORTAGES
            raise failure
        yield folder


def _parents(variables: Mapping[bytes, bytes]) -> list[str]:
    names = (b"RUNTIME_DIRECTORY", b"XDG_RUNTIME_DIR", b"TMPDIR")
    given = [os.fsdecode(variables.get(name, b"")) for name in names]
    return [path for path in (*given, "/tmp", "/var/tmp") if path.startswith("/")]  # noqa: S108


@contextlib.contextmanager
def _held(parent: str) -> Iterator[str]:
    """Make a folder and hold its lock, which tells others that it is in use."""
    folder = tempfile.mkdtemp(prefix=CLIENT_PREFIX, dir=parent)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


class Lock:
    """The lock of a folder: two pt-bridges may share one, but not start PTs at once.

    It goes with the process, so a stale one cannot be left.
    """

    def __init__(self, folder: str) -> None:
        try:
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise cannot_write(folder, error) from None

    def try_to_take(self) -> bool:
        """Take it if it is free; tell whether we have it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let it go, if we have it."""
        os.close(self._descriptor)


def write_client_options(folder: str, text: str) -> tuple[str, str | None]:
    """Write what clients must use, 0600.

    Returns:
        The file's path, and what it held before, or None where there was none.

    Raises:
        StateError: it cannot be written.
    """
    path = os.path.join(folder, CLIENT_OPTIONS)
    before = None
    try:
        with (
            contextlib.suppress(FileNotFoundError),
            open(path, encoding="utf-8", errors="replace") as old,
        ):
            before = old.read().strip()
        write_whole(path, f"{text}\n".encode())
    except OSError as error:
        raise cannot_write(path, error) from None
    return path, before


def write_whole(path: str, content: bytes) -> None:
    """Put a file in its place, 0600, all of it at once or not at all.

    Raises:
        OSError: that cannot be done.
    """
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)  # whatever somebody has left there
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(new, flags, 0o600), "wb") as file:
        file.write(content)
    os.replace(new, path)


def file_below(path: str, variables: Mapping[bytes, bytes]) -> str:
    """Give a log file's path below the state directory; its folder is made.

    Raises:
        StateError: it cannot be made.
    """
    # Apart from the folders of PTs: a link must not make us write into a server's keys.
    folder = _private(os.path.join(_private(base(variables)), LOGS))
    *parents, name = path.split("/")
    for part in parents:
        folder = _private(os.path.join(folder, part)) if part else folder
    return os.path.join(folder, name)
