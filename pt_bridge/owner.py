"""What the owner of the machine lets plugin options do: pt-bridge.conf.

Plugin options travel in links, so an attacker may have written them. The owner's files
say what they may ask for besides what is harmless; `pt_bridge.protocol.torrc` has their
syntax. One is believed only where nobody but root and this user could have written it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge import trust
from pt_bridge.errors import OptionsError, OwnerFileError
from pt_bridge.protocol.torrc import Include, Plugin, parse, parse_pt_config
from pt_bridge.transports import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.config import Config
    from pt_bridge.protocol.torrc import Entry

SYSTEM_WIDE = "/etc/pt-bridge.conf"
NAME = "pt-bridge.conf"
MAX_SIZE = 64 * 1024
MAX_INCLUDED = 16  # files, for each of ours
PT_CONFIG = ".json"  # what no torrc is called
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# What needs neither quotes nor a blank in the line that we tell people to write.
PLAIN = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,:@%/"
)


class Wanted(NamedTuple):
    """Which program to run, and how.

    Attributes:
        names: executables to look for, the preferred one first; or one path.
        arguments: what it gets on its command line.
        whence: the file and line that name the path, or "".
    """

    names: Sequence[str]
    arguments: Sequence[str] = ()
    whence: str = ""


class Owner:
    """What the owner's files say.

    Attributes:
        options: what plugin options may set as they like.
        plugins: the programs that are named, their paths absolute; the first one that
            fits is the one to run.
    """

    def __init__(self, files: Sequence[str]) -> None:
        """Read those files that are there.

        Args:
            files: their paths; what one says comes before what the next one says.

        Raises:
            OwnerFileError: one cannot be believed, read or understood.
        """
        self.options: set[str] = set()
        self.plugins: list[Plugin] = []
        self._files = files
        for path in files:
            data = _read(path)
            if data is not None:
                self._take(parse(data, path), path)

    def _take(self, entries: Sequence[Entry], path: str) -> None:
        included = 0
        for entry in entries:
            if isinstance(entry, Plugin):
                there = _absolute(entry.path, path)
                self.plugins.append(entry._replace(path=there))
            elif isinstance(entry, Include):
                included += 1
                if included > MAX_INCLUDED:
                    raise OwnerFileError(f"{entry.where} is one %include too many")
                other = os.path.join(os.path.dirname(path), entry.path)
                # What is included includes nothing.
                self._take(_included(other, entry.where), os.path.realpath(other))
            else:
                self.options.add(entry.option)

    def program(self, config: Config) -> Wanted:
        """Choose the program that a configuration asks for.

        Raises:
            OptionsError: it asks for what nobody allows, or nothing offers the
                transport; it names the line that would help.
        """
        for plugin in self.plugins:
            if (
                plugin.server == config.server
                and config.transport in plugin.transports
                and config.exec in (None, plugin.path, os.path.basename(plugin.path))
            ):
                return Wanted([plugin.path], plugin.arguments, plugin.where)
        if config.programs:
            return Wanted(config.programs)
        if config.exec is None:
            raise OptionsError(
                f"no PT program that pt-bridge knows is a server for "
                f"{config.transport}: use another transport, or name one: "
                f"{self._how_to_allow(config)}"
            )
        raise OptionsError(
            f"exec= in plugin options, which links can carry, may be one of "
            f"{', '.join(sorted(PROGRAMS))}, or what the owner of this machine allows "
            f"for {config.transport}: {self._how_to_allow(config)}"
        )

    def _how_to_allow(self, config: Config) -> str:
        keyword = "ServerTransportPlugin" if config.server else "ClientTransportPlugin"
        path = config.exec or ""
        if not (path.startswith("/") and PLAIN.issuperset(path)):
            path = "/PATH/OF/PROGRAM"
        return (
            f"add the line '{keyword} {config.transport} exec {path}' to "
            f"{' or '.join(self._files)}"
        )


def files(variables: Mapping[bytes, bytes]) -> list[str]:
    """Give where the owner's files are looked for, this user's own first.

    Root has only the system's: its HOME may be another user's (sudo).
    """
    if os.geteuid() == trust.ROOT:
        return [SYSTEM_WIDE]
    folder = os.fsdecode(variables.get(b"XDG_CONFIG_HOME", b""))
    if not folder.startswith("/"):
        home = os.fsdecode(variables.get(b"HOME", b""))
        if not (home.startswith("/") and home.strip("/")):
            return [SYSTEM_WIDE]
        folder = os.path.join(home, ".config")
    return [os.path.join(folder, NAME), SYSTEM_WIDE]


def allows(option: str, variables: Mapping[bytes, bytes]) -> bool:
    """Tell whether plugin options may set an option as they like.

    Raises:
        OwnerFileError: a file of the owner's cannot be believed, read or understood.
    """
    return option in Owner(files(variables)).options


def wanted(config: Config, variables: Mapping[bytes, bytes]) -> Wanted:
    """Choose the program to run.

    Raises:
        OwnerFileError: a file of the owner's cannot be believed, read or understood.
        OptionsError: the plugin options ask for a program that is not theirs to choose.
    """
    if config.is_program_chosen:
        return Wanted(config.programs)
    return Owner(files(variables)).program(config)


def _included(path: str, where: str) -> Sequence[Entry]:
    data = _read(path)
    if data is None:
        raise OwnerFileError(f"{where} includes {path}, which is not there")
    if path.endswith(PT_CONFIG):
        return parse_pt_config(data, path)
    return parse(data, path, included=True)


def _read(path: str) -> bytes | None:
    """Read a file that can be believed; None where there is none.

    Raises:
        OwnerFileError: it cannot be believed, or not be read.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # or in a folder that is closed to us: HOME may be another user's
    except OSError as error:
        raise _cannot_read(path, error) from None
    if flaw := trust.flaw(path):
        raise OwnerFileError(f"{path} is not believed, since {flaw}")
    try:
        data = _content(path)
    except OSError as error:
        raise _cannot_read(path, error) from None
    if data is None:
        raise OwnerFileError(f"{path} is not a file")
    if len(data) > MAX_SIZE:
        raise OwnerFileError(f"{path} is larger than {MAX_SIZE} bytes")
    return data


def _content(path: str) -> bytes | None:
    """Read one byte more than may be there; None of what is no file."""
    descriptor = os.open(path, READING)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_SIZE + 1)
    finally:
        os.close(descriptor)


def _cannot_read(path: str, error: OSError) -> OwnerFileError:
    why = os.strerror(error.errno or 0).lower()
    return OwnerFileError(f"cannot read {path}: {why}; see that this user may read it")


def _absolute(path: str, file: str) -> str:
    """Give a program's absolute path.

    tor takes a relative one from its working directory, which in bundles is the file's
    folder or one above it: the nearest where the program is.
    """
    folder = os.path.dirname(file)
    beside = os.path.normpath(os.path.join(folder, path))
    while folder != "/":
        found = os.path.normpath(os.path.join(folder, path))
        if os.path.isfile(found):
            return found
        folder = os.path.dirname(folder)
    return beside
