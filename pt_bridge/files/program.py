"""A program that was found, and what it gets of our own environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.files import executable
from pt_bridge.protocol import pt_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_bridge.files.owner_config import ProgramChoice


class FoundProgram(NamedTuple):
    """A program that was found.

    Attributes:
        path: its absolute path.
        arguments: what it gets on its command line.
        whence: the file and line that name the path, or "".
        inherited: what it gets of our own environment.
        passed_over: for each program that was there before it and is not taken, a
            sentence.
    """

    path: str
    arguments: Sequence[str]
    whence: str
    inherited: Mapping[bytes, bytes]
    passed_over: Sequence[str]

    @property
    def identity(self) -> tuple[object, ...]:
        """What a running one is compared with, to see if a new one would differ."""
        try:
            file = os.stat(self.path)
        except OSError:
            return (self.path,)
        written = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns)
        return (self.path, written, tuple(self.arguments), dict(self.inherited))

    def __str__(self) -> str:
        return f"{self.path} ({self.whence})" if self.whence else self.path


def find(
    wanted: ProgramChoice,
    variables: Mapping[bytes, bytes],
    *,
    what: str = executable.PT_PROGRAM,
) -> FoundProgram:
    """Find a program.

    Args:
        wanted: what the owner's files and the configuration ask for.
        variables: our environment.
        what: what an error calls it.

    Raises:
        ProgramError: it is not there, or may not be executed.
    """
    try:
        here = os.getcwd()
    except OSError:  # somebody has removed it
        here = "/"
    path, passed_over = executable.find(
        wanted.names, variables, here, wanted.whence, what=what
    )
    inherited = pt_environment.inherited(variables)
    if b"PATH" in inherited:
        folders = executable.search_path(variables, here)
        inherited[b"PATH"] = os.fsencode(os.pathsep.join(folders))
    return FoundProgram(path, wanted.arguments, wanted.whence, inherited, passed_over)
