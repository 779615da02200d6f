"""The PT's executable: where it is looked for, and what keeps it from running."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pt_bridge import trust
from pt_bridge.errors import SHORTAGES, ProgramError
from pt_bridge.log import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOR_BROWSER_PTS = "tor-browser/Browser/TorBrowser/Tor/PluggableTransports"
# Looked into after PATH: hosts may give us none.
USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", f"/opt/{TOR_BROWSER_PTS}")
USUAL_FOLDERS_AT_HOME = (
    TOR_BROWSER_PTS,
    f".local/share/torbrowser/tbb/x86_64/{TOR_BROWSER_PTS}",
)
IN_DEBIAN = frozenset({"obfs4proxy", "snowflake-client"})
PACKAGES = {  # in Debian, where they do not have the program's name
    "webtunnel-client": "webtunnel",
    "webtunnel-server": "webtunnel",
}


def search_path(variables: Mapping[bytes, bytes], working_directory: str) -> list[str]:
    """Give the folders of PATH that may be believed.

    shadowsocks-libev puts the working directory in front. It is left out, wherever and
    however it stands there, and so are relative entries (conformance SE-03).
    """
    folders = os.fsdecode(variables.get(b"PATH", b"")).split(os.pathsep)
    return [
        folder
        for folder in folders
        if folder.startswith("/") and not _is_same(folder, working_directory)
    ]


def _is_same(folder: str, other: str) -> bool:
    """Tell whether two paths lead to one folder, by a link or as a mount of it."""
    if os.path.realpath(folder) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(folder, other)
    except OSError:
        return False


def find(
    names: Sequence[str],
    variables: Mapping[bytes, bytes],
    working_directory: str,
    whence: str = "",
) -> str:
    """Find the first of some executables.

    One that somebody else could have put there, or could change, is not taken.

    Args:
        names: their names, the preferred one first; or one path.
        variables: our environment.
        working_directory: ours, which is never searched.
        whence: the file and line that name the path; without it, the path is the
            owner's word of this moment, and taken as it is.

    Returns:
        The absolute path.

    Raises:
        ProgramError: none is there, or none may be executed; it lists where it looked.
    """
    is_path = "/" in names[0]
    if is_path:
        paths = [os.path.join(working_directory, names[0])]
        folders = [os.path.dirname(paths[0])]
    else:
        folders = _folders(variables, working_directory)
        paths = [os.path.join(folder, name) for name in names for folder in folders]
    why_not: list[str] = []
    for path in paths:
        if not os.path.isfile(path):
            continue
        # With the rights that we would run it with.
        if not os.access(path, os.X_OK, effective_ids=True):
            why_not.append(
                f"{path} is not executable by this user: run 'chmod +x {path}', or "
                f"install the PT again"
            )
        elif (whence or not is_path) and (flaw := trust.flaw(path)):
            why_not.append(f"{path} is not run, since {flaw}")
        else:
            for sentence in why_not:
                logger.warning("%s", sentence)
            return path
    if why_not:
        raise ProgramError(why_not[0])
    if is_path:
        named = f", which {whence} names" if whence else ""
        raise ProgramError(f"there is no PT program {paths[0]}{named}")
    raise ProgramError(
        f"no PT program was found: install {' or '.join(names)} ({package(names)}); "
        f"looked in {', '.join(folders)}"
    )


def package(names: Sequence[str]) -> str:
    """Say where to get one of some programs."""
    for name in names:
        if name in IN_DEBIAN:
            return f"Debian: apt install {name}"
    package = PACKAGES.get(names[0], names[0])
    return f"not in Debian 12; later, perhaps: apt install {package}"


def _folders(variables: Mapping[bytes, bytes], working_directory: str) -> list[str]:
    folders = search_path(variables, working_directory)
    folders += USUAL_FOLDERS
    home = os.fsdecode(variables.get(b"HOME", b""))
    if home.startswith("/"):
        folders += [os.path.join(home, folder) for folder in USUAL_FOLDERS_AT_HOME]
    return list(dict.fromkeys(folders))


def explain(path: str, error: OSError) -> ProgramError:
    """Say why the system did not start a program that was found."""
    why = os.strerror(error.errno or 0).lower()
    if error.errno in (errno.EACCES, errno.EPERM):
        why += (
            ": an AppArmor profile, a 'noexec' mount or a sandbox forbids it "
            "(see the system's log)"
        )
    elif error.errno in (errno.ENOEXEC, errno.ENOENT):
        why += ": it is broken, or for another machine; install the PT again"
    made = ProgramError(f"cannot start {path}: {why}")
    made.may_pass = error.errno in SHORTAGES
    return made
