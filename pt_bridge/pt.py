"""The PT that a configuration asks for: find it, and start it as it should be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge import program
from pt_bridge.child import Child
from pt_bridge.protocol import environment
from pt_bridge.protocol.launch import Launch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.config import Config
    from pt_bridge.owner import Wanted


class Pt(NamedTuple):
    """A program that was found.

    Attributes:
        path: its absolute path.
        arguments: what it gets on its command line.
        whence: the file and line that name the path, or "".
        inherited: what it gets of our own environment.
    """

    path: str
    arguments: Sequence[str]
    whence: str
    inherited: Mapping[bytes, bytes]

    def __str__(self) -> str:
        return f"{self.path} ({self.whence})" if self.whence else self.path

    def child(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        *,
        learn: Callable[[Launch], None] | None = None,
        descriptors: Sequence[int] = (),
    ) -> Child:
        """Prepare to run it.

        Args:
            config: what the user asks for.
            variables: TOR_PT_*, as `protocol.environment` makes them.
            learn: see `Child`.
            descriptors: likewise.
        """
        launch = Launch(
            os.path.basename(self.path),
            config.transport,
            server=config.server,
            proxy=b"TOR_PT_PROXY" in variables,
        )
        return Child(
            self.path,
            {**self.inherited, **variables},
            launch,
            learn,
            arguments=self.arguments,
            descriptors=descriptors,
        )


def find(wanted: Wanted, variables: Mapping[bytes, bytes]) -> Pt:
    """Find a program.

    Args:
        wanted: what `owner.wanted` gave.
        variables: our environment.

    Raises:
        ProgramError: it is not there, or may not be executed.
    """
    try:
        here = os.getcwd()
    except OSError:  # somebody has removed it
        here = "/"
    path = program.find(wanted.names, variables, here, wanted.whence)
    inherited = environment.inherited(variables)
    if b"PATH" in inherited:
        folders = program.search_path(variables, here)
        inherited[b"PATH"] = os.fsencode(os.pathsep.join(folders))
    return Pt(path, wanted.arguments, wanted.whence, inherited)
