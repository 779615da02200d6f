"""The PT that a configuration asks for: find it, and start it as it should be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pt_bridge.files import program
from pt_bridge.files.program import FoundProgram
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.protocol.pt_launch import Launch
from pt_bridge.pt.process import PtProcess
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.files.owner_config import ProgramChoice
    from pt_bridge.options.config import Config


class Pt(FoundProgram):
    """A PT's program that was found."""

    __slots__ = ()

    def child(
        self,
        config: Config,
        variables: Mapping[bytes, bytes],
        *,
        transports: Sequence[str] = (),
        on_launch_message: Callable[[Launch], None] | None = None,
        descriptors: Sequence[int] = (),
    ) -> PtProcess:
        """Prepare to run it.

        Args:
            config: what the user asks for.
            variables: TOR_PT_*, as `protocol.environment` makes them.
            transports: what it is asked for; the one of `config`, where not said.
            on_launch_message: see `PtProcess`.
            descriptors: likewise.
        """
        first, *others = transports or [config.transport]
        launch = Launch(
            os.path.basename(self.path),
            first,
            server=config.server,
            proxy=b"TOR_PT_PROXY" in variables,
            hint=_did_you_mean(first),
            others=others,
        )
        return PtProcess(
            self.path,
            {**self.inherited, **variables},
            launch,
            on_launch_message,
            arguments=self.arguments,
            descriptors=descriptors,
        )


def _did_you_mean(transport: str) -> str:
    return "" if transport in TRANSPORTS else did_you_mean(transport, TRANSPORTS)


def find(wanted: ProgramChoice, variables: Mapping[bytes, bytes]) -> Pt:
    """Find a program, as `files.program.find` does.

    Raises:
        ProgramError: it is not there, or may not be executed.
    """
    return Pt(*program.find(wanted, variables))
