"""Where a PT keeps its state: a server for good, a client for a while."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile
from typing import TYPE_CHECKING

from pt_bridge.errors import SHORTAGES, StateError
from pt_bridge.files import trust
from pt_bridge.files.temporary_dir import lock
from pt_bridge.files.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.options.config import Config

OURS = "pt-bridge"
CLIENT_OPTIONS = "client-options.txt"
LOGS = "log"
PRIVATE = 0o700
WRITABLE_BY_OTHERS = 0o022
HELP = (
    "under systemd run 'systemctl edit UNIT' and add '[Service]' and "
    "'StateDirectory=pt-bridge'; elsewhere set HOME or XDG_STATE_HOME to a folder that "
    "this user may write to"
)


def base(
    variables: Mapping[bytes, bytes],
    user: int | None = None,
    *,
    only_look: bool = False,
) -> str:
    """Return the state directory; it need not exist yet.

    Args:
        variables: the environment of the pt-bridge whose it is.
        user: who runs that; by itself we do.
        only_look: whether root looks at what may be another user's.

    Raises:
        StateError: no variable names a folder to put it in.
    """
    given = {key: os.fsdecode(value) for key, value in variables.items()}
    systemd = given.get(b"STATE_DIRECTORY", "").partition(":")[0]
    if systemd.startswith("/"):
        # StateDirectory=pt-bridge names the folder that root uses without systemd.
        is_ours = os.path.basename(systemd) == OURS
        folder = trust.behind_link_of_root(systemd, only_look=only_look)
        return folder if is_ours else os.path.join(folder, OURS)
    xdg = given.get(b"XDG_STATE_HOME", "")
    if xdg.startswith("/"):
        return os.path.join(xdg, OURS)
    user = os.geteuid() if user is None else user
    if user == trust.ROOT:
        return os.path.join("/var/lib", OURS)
    home = given.get(b"HOME") or _home_of(user)
    if home.startswith("/") and home.strip("/"):
        return os.path.join(home, ".local/state", OURS)
    raise StateError(
        f"there is no folder to keep the server's keys in, HOME being '{home}': {HELP}"
    )


def _home_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_dir
    except KeyError:
        return ""


def folder(config: Config, variables: Mapping[bytes, bytes]) -> str:
    """Return the path of the folder that `persistent` makes, links followed.

    Raises:
        StateError: no variable names a folder to put it in.
    """
    return os.path.realpath(_folders(config, variables)[-1])


def persistent(config: Config, variables: Mapping[bytes, bytes]) -> str:
    """Create the folder that outlives us: a server's, or the one that `state=` names.

    Returns:
        Its absolute path.

    Raises:
        StateError: it cannot be made, or others could have put something into it.
    """
    folders = _folders(config, variables)
    for folder in folders:
        _private(folder)
    return folders[-1]


def look(
    config: Config,
    variables: Mapping[bytes, bytes],
    *,
    is_service: bool = False,
    user: int | None = None,
) -> tuple[str, bool]:
    """Check that `persistent` would work, and leave nothing.

    Args:
        config: what is asked for.
        variables: the environment.
        is_service: whether that is a service's, which may be another user's.
        user: who runs that, where it is known.

    Returns:
        The folder's absolute path, and whether it is there.

    Raises:
        StateError: `persistent` would raise it.
    """
    if os.geteuid() == trust.ROOT and (is_service or _is_service_s(variables)):
        return _look_as_root(config, variables, user)
    folders = _folders(config, variables)
    for folder in folders:
        if not os.path.lexists(folder):
            _see_that_it_can_be_made(folder)
            return folders[-1], False
        _private(folder)
    return folders[-1], True


def _look_as_root(
    config: Config, variables: Mapping[bytes, bytes], user: int | None
) -> tuple[str, bool]:
    """Look at the folder of a pt-bridge of any user's, and change nothing."""
    first, *others = _folders(config, variables, user, only_look=True)
    folders = [trust.behind_link_of_root(first, only_look=True)]
    folders += [f"{folders[0]}{each.removeprefix(first)}" for each in others]
    for folder in folders:
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            return folders[-1], False
        except OSError as error:
            raise cannot_write(folder, error) from None
        if not stat.S_ISDIR(found.st_mode) or user not in (None, found.st_uid):
            raise _not_its_own(folder)
        _see_that_others_cannot_write(folder, found)
    return folders[-1], True


def _is_service_s(variables: Mapping[bytes, bytes]) -> bool:
    """Whether our state directory is systemd's link to one of a DynamicUser='s."""
    folder = base(variables)
    return trust.behind_link_of_root(folder, only_look=True) != folder


def _folders(
    config: Config,
    variables: Mapping[bytes, bytes],
    user: int | None = None,
    *,
    only_look: bool = False,
) -> list[str]:
    """Return the folders that must be ours alone, each in the one before."""
    if config.state is not None and os.path.isabs(config.state):
        return [config.state]
    folders = [base(variables, user, only_look=only_look)]
    name = config.state or f"{config.transport}-{config.remote_port}"
    for part in filter(None, name.split("/")):
        folders.append(os.path.join(folders[-1], part))
    return folders


def other_ports(config: Config, folder: str) -> list[str]:
    """Return the folders of servers of the same transport on other ports.

    One in which none was ever ready, since its start failed, is no server's.

    Args:
        config: what names the folder.
        folder: the one of this server.
    """
    if config.state is not None:
        return []
    parent, ours = os.path.split(folder)
    begin = f"{config.transport}-"
    return sorted(
        name
        for name in os.listdir(parent)
        if name.startswith(begin) and name[len(begin) :].isdecimal() and name != ours
        if os.path.exists(os.path.join(parent, name, CLIENT_OPTIONS))
    )


def _see_that_it_can_be_made(folder: str) -> None:
    parent = os.path.dirname(folder)
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    try:  # only this tells, of read-only file systems and of root's rights, too
        os.rmdir(tempfile.mkdtemp(prefix=OURS, dir=parent))
    except OSError as error:
        raise cannot_write(folder, error) from None


def _private(folder: str) -> str:
    """Create a folder that only we can write to, or see that it is one (SE-02)."""
    try:
        _make(folder)
        found = os.lstat(folder)
    except OSError as error:
        raise cannot_write(folder, error) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise _not_its_own(folder)
    _see_that_others_cannot_write(folder, found)
    return folder


def _not_its_own(folder: str) -> StateError:
    return StateError(
        f"the state directory {folder} is a link or another user's: set "
        f"STATE_DIRECTORY or XDG_STATE_HOME to a folder of this user's own"
    )


def _see_that_others_cannot_write(folder: str, found: os.stat_result) -> None:
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise StateError(
            f"others may write to the state directory {folder}: run 'chmod 700 "
            f"{folder}'"
        )


def _make(folder: str) -> None:
    """Create a folder and those above it that are missing, 0700 each (SE-01)."""
    parent = os.path.dirname(folder)
    if not os.path.exists(parent):
        _make(parent)
    os.makedirs(folder, PRIVATE, exist_ok=True)


def cannot_write(path: str, error: OSError) -> StateError:
    """Return the error for a state directory that cannot be written."""
    why = os.strerror(error.errno or 0).lower()
    made = StateError(f"cannot write the state directory {path}: {why}; {HELP}")
    made.is_temporary = error.errno in SHORTAGES
    return made


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
        """Take it if it is free; return whether we have it."""
        try:
            lock(self._descriptor)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release it, if we have it."""
        os.close(self._descriptor)


def write_client_options(
    folder: str, text: str, name: str = CLIENT_OPTIONS
) -> tuple[str, str | None]:
    """Write what clients must use, 0600.

    Args:
        folder: the PT's.
        text: what clients must use.
        name: the file's.

    Returns:
        The file's path, and what it held before, or None where there was none.

    Raises:
        StateError: it cannot be written.
    """
    path = os.path.join(folder, name)
    before = None
    try:
        with (
            contextlib.suppress(FileNotFoundError),
            open(path, encoding="utf-8", errors="replace") as old,
        ):
            before = old.read().strip()
        write_whole(path, f"{text}\n".encode())
    except OSError as error:
        if before != text:  # else nobody needs it anew: a full disk stops no server
            raise cannot_write(path, error) from None
    return path, before


def file_below(path: str, variables: Mapping[bytes, bytes]) -> str:
    """Return a log file's path below the state directory; its folder is made.

    Raises:
        StateError: it cannot be made.
    """
    # Apart from the folders of PTs: a link must not make us write into a server's keys.
    folder = _private(os.path.join(_private(base(variables)), LOGS))
    *parents, name = path.split("/")
    for part in parents:
        folder = _private(os.path.join(folder, part)) if part else folder
    return os.path.join(folder, name)
