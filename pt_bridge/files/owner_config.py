"""What the owner of the machine lets plugin options do: pt-bridge.conf.

Plugin options travel in links, so an attacker may have written them. The owner's files
say what they may ask for besides what is harmless; `pt_bridge.formats.torrc` has their
syntax. One is believed only where nobody but root and this user could have written it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import OptionsError, OwnerFileError
from pt_bridge.files import trust
from pt_bridge.formats.torrc import (
    Include,
    Plugin,
    Sip003Plugin,
    parse,
    parse_pt_config,
)
from pt_bridge.options import outer_plugins
from pt_bridge.options.transports import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.formats.torrc import Entry
    from pt_bridge.options.config import Config
    from pt_bridge.options.plugin_options import Via

SYSTEM_WIDE = "/etc/pt-bridge.conf"
NAME = "pt-bridge.conf"
MAX_SIZE = 64 * 1024
MAX_INCLUDED_SIZE = 1024 * 1024  # a torrc with 500 bridge lines has 100 KiB
MAX_INCLUDED = 64  # files, for each of ours
WILDCARDS = frozenset("*?[")
PT_CONFIG = ".json"  # what no torrc is called
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# What needs neither quotes nor a blank in the line that we tell people to write.
PLAIN = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,:@%/"
)


class ProgramChoice(NamedTuple):
    """Which program to run, and how.

    Attributes:
        names: executables to look for, the preferred one first; or one path.
        arguments: what it gets on its command line.
        whence: the file and line that name the path, or "".
    """

    names: Sequence[str]
    arguments: Sequence[str] = ()
    whence: str = ""


class OwnerConfig:
    """What the owner's files say.

    Attributes:
        options: what plugin options may set as they like.
        plugins: the programs that are named, their paths absolute; the first one that
            fits is the one to run.
        outer_plugins: the other plugins that are named, likewise.
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
        self.outer_plugins: list[Sip003Plugin] = []
        self._files = files
        for path in files:
            data = read(path)
            if data is not None:
                self._take(parse(data, path), path)

    def _take(self, entries: Sequence[Entry], path: str) -> None:
        included = 0
        for entry in entries:
            if isinstance(entry, Plugin):
                there = _absolute(entry.path, path)
                self.plugins.append(entry._replace(path=there))
            elif isinstance(entry, Sip003Plugin):
                there = _absolute(entry.path, path)
                self.outer_plugins.append(entry._replace(path=there))
            elif isinstance(entry, Include):
                for other in _meant(entry, os.path.dirname(path)):
                    included += 1
                    if included > MAX_INCLUDED:
                        raise OwnerFileError(
                            f"{entry.where} includes one file too many: no more than "
                            f"{MAX_INCLUDED} may be included"
                        )
                    # What is included includes nothing.
                    self._take(_included(other, entry.where), os.path.realpath(other))
            else:
                self.options.add(entry.option)

    def program(self, config: Config, transport: str = "") -> ProgramChoice:
        """Choose the program that a configuration asks for.

        Args:
            config: it.
            transport: which of its transports is meant; the first, where not said.

        Raises:
            OptionsError: it asks for what nobody allows, or nothing offers the
                transport; it names the line that would help.
        """
        transport = transport or config.transport
        for plugin in self.plugins:
            if (
                plugin.server == config.server
                and transport in plugin.transports
                and config.exec in (None, plugin.path, os.path.basename(plugin.path))
            ):
                return ProgramChoice([plugin.path], plugin.arguments, plugin.where)
        if programs := config.programs_for(transport):
            return ProgramChoice(programs)
        if config.exec is None:
            raise OptionsError(
                f"no PT program that pt-bridge knows is a server for "
                f"{transport}: use another transport, or name one: "
                f"{self._how_to_allow(config, transport)}"
            )
        is_path = PLAIN.issuperset(config.exec) and config.exec.startswith("/")
        is_missing = is_path and not os.path.exists(config.exec)
        raise OptionsError(
            f"exec= in plugin options, which links can carry, may be one of "
            f"{', '.join(sorted(PROGRAMS))}, or what the owner of this machine allows "
            f"for {transport}: {self._how_to_allow(config, transport)}"
            + (f"; there is no {config.exec} yet" if is_missing else "")
        )

    def outer_plugin(self, via: Via) -> ProgramChoice:
        """Choose the program of the plugin between the PT and the Internet.

        Raises:
            OptionsError: neither we know it, nor the owner's files; it names the line
                that would help.
        """
        name = via.name
        for plugin in self.outer_plugins:
            if plugin.name == name:
                return ProgramChoice([plugin.path], plugin.arguments, plugin.where)
        known = outer_plugins.KNOWN.get(name)
        if known is not None:
            return ProgramChoice(known.programs)
        if via.is_flag:
            return ProgramChoice([name])
        shown = name if PLAIN.issuperset(name) and "/" not in name else "NAME"
        raise OptionsError(
            f"{outer_plugins.hint(name)}via= in plugin options, which links can carry, "
            f"may be one of {', '.join(outer_plugins.KNOWN)}, or what the owner of "
            f"this machine allows: add the line 'SIP003Plugin {shown} exec "
            f"/PATH/OF/PROGRAM' to {' or '.join(self._files)}"
        )

    def _how_to_allow(self, config: Config, transport: str) -> str:
        keyword = "ServerTransportPlugin" if config.server else "ClientTransportPlugin"
        path = config.exec or ""
        if not (path.startswith("/") and PLAIN.issuperset(path)):
            path = "/PATH/OF/PROGRAM"
        return (
            f"add the line '{keyword} {transport} exec {path}' to "
            f"{' or '.join(self._files)}"
        )


def files(variables: Mapping[bytes, bytes]) -> list[str]:
    """Return where the owner's files are looked for, this user's own first.

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
    """Return whether plugin options may set an option as they like.

    Raises:
        OwnerFileError: a file of the owner's cannot be believed, read or understood.
    """
    return option in OwnerConfig(files(variables)).options


def wanted(
    config: Config, variables: Mapping[bytes, bytes], transport: str = ""
) -> ProgramChoice:
    """Choose the program to run for one transport; the first, where it is not said.

    Raises:
        OwnerFileError: a file of the owner's cannot be believed, read or understood.
        OptionsError: the plugin options ask for a program that is not theirs to choose.
    """
    if config.is_program_chosen:
        return ProgramChoice(config.programs_for(transport or config.transport))
    return OwnerConfig(files(variables)).program(config, transport)


def wanted_outer(via: Via, variables: Mapping[bytes, bytes]) -> ProgramChoice:
    """Choose the program of the plugin between the PT and the Internet.

    Raises:
        OwnerFileError: a file of the owner's cannot be believed, read or understood.
        OptionsError: the plugin options ask for a program that is not theirs to choose.
    """
    return OwnerConfig(files(variables)).outer_plugin(via)


def _meant(entry: Include, folder: str) -> list[str]:
    """Return the files that an %include means, as tor has it: sorted, none hidden.

    Raises:
        OwnerFileError: a folder cannot be read, or ``~`` is nobody's home.
    """
    path = os.path.join(folder, _in_home(entry))
    if WILDCARDS.isdisjoint(path):
        return _files_in(path) if os.path.isdir(path) else [path]
    import glob  # for what hardly anybody writes

    found = sorted(glob.glob(path))
    return [
        file
        for each in found
        for file in (_files_in(each) if os.path.isdir(each) else [each])
    ]


def _in_home(entry: Include) -> str:
    """Return a path with the home of this user, or of another one, for its ``~``."""
    user, slash, rest = entry.path.partition("/")
    if not user.startswith("~"):
        return entry.path
    import pwd

    try:
        if user == "~":  # HOME may be another user's (sudo)
            home = pwd.getpwuid(os.geteuid()).pw_dir
        else:
            home = pwd.getpwnam(user[1:]).pw_dir
    except KeyError:
        raise OwnerFileError(
            f"{entry.where} begins with '{user}', which is the home of nobody here"
        ) from None
    return f"{home}{slash}{rest}"


def _files_in(folder: str) -> list[str]:
    """Return the files of a folder, neither hidden ones nor other folders."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise _cannot_read(folder, error) from None
    paths = [os.path.join(folder, name) for name in names if name[0] != "."]
    return [path for path in paths if not os.path.isdir(path)]


def _included(path: str, where: str) -> Sequence[Entry]:
    data = read(path, limit=MAX_INCLUDED_SIZE)
    if data is None:
        raise OwnerFileError(f"{where} includes {path}, which is not there")
    if path.endswith(PT_CONFIG):
        return parse_pt_config(data, path)
    return parse(data, path, included=True)


def read(path: str, *, limit: int = MAX_SIZE) -> bytes | None:
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
    if flaw := trust.unsafe_because(path):
        raise OwnerFileError(f"{path} is not believed, since {flaw}")
    try:
        data = _content(path, limit)
    except OSError as error:
        raise _cannot_read(path, error) from None
    if data is None:
        raise OwnerFileError(f"{path} is not a file")
    if len(data) > limit:
        raise OwnerFileError(f"{path} is larger than {limit} bytes")
    return data


def _content(path: str, limit: int) -> bytes | None:
    """Read one byte more than may be there; None of what is no file."""
    descriptor = os.open(path, READING)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    finally:
        os.close(descriptor)


def _cannot_read(path: str, error: OSError) -> OwnerFileError:
    why = os.strerror(error.errno or 0).lower()
    return OwnerFileError(f"cannot read {path}: {why}; see that this user may read it")


def _absolute(path: str, file: str) -> str:
    """Return a program's absolute path.

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
