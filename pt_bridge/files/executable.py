"""A program's executable: where it is looked for, and what keeps it from running.

It is a PT's, or that of another plugin between the PT and the Internet.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import SHORTAGES, ProgramError
from pt_bridge.files import trust
from pt_bridge.options import outer_plugins
from pt_bridge.options.transports import PROGRAMS
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOR_BROWSER_PTS = "tor-browser/Browser/TorBrowser/Tor/PluggableTransports"
# Looked into after PATH: hosts may give us none.
USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", f"/opt/{TOR_BROWSER_PTS}")
USUAL_FOLDERS_AT_HOME = (
    TOR_BROWSER_PTS,
    f".local/share/torbrowser/tbb/x86_64/{TOR_BROWSER_PTS}",
)
PT_PROGRAM = "PT program"
IN_DEBIAN = frozenset({"obfs4proxy", "snowflake-client"})
PACKAGES = {  # in Debian, where they do not have the program's name
    "webtunnel-client": "webtunnel",
    "webtunnel-server": "webtunnel",
}


class Found(NamedTuple):
    """An executable that was found.

    Attributes:
        path: its absolute path.
        passed_over: for each that was there before it and is not taken, a sentence.
    """

    path: str
    passed_over: Sequence[str]


def search_path(variables: Mapping[bytes, bytes], working_directory: str) -> list[str]:
    """Return the folders of PATH that may be believed.

    shadowsocks-libev puts the working directory in front. It is left out, wherever and
    however it stands there, and so are relative entries (SE-03).
    """
    folders = os.fsdecode(variables.get(b"PATH", b"")).split(os.pathsep)
    return [
        folder
        for folder in folders
        if folder.startswith("/") and not _is_same(folder, working_directory)
    ]


def _is_same(folder: str, other: str) -> bool:
    """Return whether two paths lead to one folder, by a link or as a mount of it."""
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
    *,
    what: str = PT_PROGRAM,
) -> Found:
    """Find the first of some executables.

    One that somebody else could have put there, or could change, is not taken.

    Args:
        names: their names, the preferred one first; or one path.
        variables: our environment.
        working_directory: ours, which is never searched.
        whence: the file and line that name the path; without it, the path is the
            owner's word of this moment, and taken as it is.
        what: what an error calls it.

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
            why_not.append(_why_not_executable(path))
        elif (whence or not is_path) and (flaw := trust.unsafe_because(path)):
            why_not.append(f"{path} is not run, since {flaw}")
        else:
            return Found(path, why_not)
    if why_not:
        raise ProgramError(why_not[0])
    if is_path:
        named = f", which {whence} names" if whence else ""
        raise ProgramError(f"there is no {what} {paths[0]}{named}")
    if names[0] in outer_plugins.KNOWN:
        raise ProgramError(
            f"no {what} was found: install {' or '.join(names)} "
            f"({package_of_plugin(names[0])}); looked in {', '.join(folders)}"
        )
    if not PROGRAMS.issuperset(names):  # the flag's own word, which may be misspelt
        raise ProgramError(
            f"there is no program {' or '.join(names)}"
            f"{did_you_mean(names[0], PROGRAMS) or ': is it installed?'} (looked in "
            f"{', '.join(folders)})"
        )
    raise ProgramError(
        f"no {what} was found: install {' or '.join(names)} ({package(names)}); "
        f"looked in {', '.join(folders)}"
    )


def _why_not_executable(path: str) -> str:
    if os.statvfs(path).f_flag & os.ST_NOEXEC:  # whatever its own bits say
        return (
            f"{path} is on a file system from which no program may be run (it is "
            f"mounted noexec): install it on another one"
        )
    return (
        f"{path} is not executable by this user: run 'chmod +x {path}', or install it "
        f"again"
    )


def package(names: Sequence[str]) -> str:
    """Return a sentence that says where to get one of some programs."""
    for name in names:
        if name in IN_DEBIAN:
            return f"Debian: apt install {name}"
    package = PACKAGES.get(names[0], names[0])
    return f"not in Debian 12; later, perhaps: apt install {package}"


def package_of_plugin(name: str) -> str:
    """Return a sentence that says where to get a plugin that we know."""
    package = outer_plugins.KNOWN[name].package
    return f"Debian: apt install {package}" if package else "Debian has none"


def _folders(variables: Mapping[bytes, bytes], working_directory: str) -> list[str]:
    folders = search_path(variables, working_directory)
    folders += USUAL_FOLDERS
    home = os.fsdecode(variables.get(b"HOME", b""))
    if home.startswith("/"):
        folders += [os.path.join(home, folder) for folder in USUAL_FOLDERS_AT_HOME]
    return list(dict.fromkeys(folders))


def explain(path: str, error: OSError) -> ProgramError:
    """Return the error for a program that was found and could not be started."""
    why = os.strerror(error.errno or 0).lower()
    if error.errno in (errno.EACCES, errno.EPERM):
        why += (
            ": an AppArmor profile, a 'noexec' mount or a sandbox forbids it "
            "(see the system's log)"
        )
    elif error.errno in (errno.ENOEXEC, errno.ENOENT):
        why += ": it is broken, or for another machine; install it again"
    made = ProgramError(f"cannot start {path}: {why}")
    made.is_temporary = error.errno in SHORTAGES
    return made
