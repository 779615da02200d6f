"""The PT's executable: where it is looked for, and what keeps it from running."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pt_bridge.errors import SHORTAGES, ProgramError

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
    here = os.path.realpath(working_directory)
    return [
        folder
        for folder in folders
        if folder.startswith("/") and os.path.realpath(folder) != here
    ]


def find(
    names: Sequence[str], variables: Mapping[bytes, bytes], working_directory: str
) -> str:
    """Find the first of some executables.

    Args:
        names: their names, the preferred one first; or one path.
        variables: our environment.
        working_directory: ours, which is never searched.

    Returns:
        The absolute path.

    Raises:
        ProgramError: none is there, or none may be executed; it lists where it looked.
    """
    if "/" in names[0]:
        paths = [os.path.join(working_directory, names[0])]
        folders = [os.path.dirname(paths[0])]
    else:
        folders = _folders(variables, working_directory)
        paths = [os.path.join(folder, name) for name in names for folder in folders]
    forbidden = None
    for path in paths:
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            forbidden = forbidden or path
    if forbidden is not None:
        raise ProgramError(
            f"{forbidden} is not executable by this user: run 'chmod +x {forbidden}', "
            f"or install the PT again"
        )
    if "/" in names[0]:
        raise ProgramError(f"there is no PT program {paths[0]}")
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
