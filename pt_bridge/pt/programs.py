"""The programs that a bridge starts, found anew for each start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import ProgramError
from pt_bridge.files import owner_config
from pt_bridge.plugin import program as outer_program
from pt_bridge.pt import program
from pt_bridge.system.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.files.owner_config import ProgramChoice
    from pt_bridge.files.program import FoundProgram
    from pt_bridge.options.config import Config
    from pt_bridge.options.plugin_options import Via
    from pt_bridge.pt.program import Pt


VIA = "via="  # no transport's name


class Programs:
    """Finds the PTs' programs, and that of the plugin outside."""

    _pts: dict[str, ProgramChoice]
    _outer: ProgramChoice

    def __init__(self, config: Config, variables: Mapping[bytes, bytes]) -> None:
        """Create one; `read_owner_config` comes before the rest.

        Args:
            config: what the user asks for.
            variables: our environment.
        """
        self._config = config
        self._variables = variables
        # Of what was found last, by the transport that it was looked for, or "via=".
        self._identities: dict[str, tuple[object, ...]] = {}

    def read_owner_config(self) -> None:
        """Read which programs the machine's owner wants us to start.

        Raises:
            OwnerFileError: a file of the owner's cannot be believed or understood.
            OptionsError: the options ask for what nobody allows.
        """
        pts = {
            transport: owner_config.wanted(self._config, self._variables, transport)
            for transport in self._config.transports
        }
        via = self._config.via
        if via is not None:
            self._outer = owner_config.wanted_outer(via, self._variables)
        self._pts = pts

    def by_program(self) -> list[list[str]]:
        """Return the transports, those together that one program is for.

        One whose program is not there is alone.
        """
        groups: dict[object, list[str]] = {}
        for transport, choice in self._pts.items():
            try:
                found = program.find(choice, self._variables)
                key: object = (found.path, tuple(found.arguments))
            except ProgramError:
                key = transport
            groups.setdefault(key, []).append(transport)
        return list(groups.values())

    def reload(self) -> bool:
        """Read the owner's files again, and look for the programs.

        Returns:
            Whether what is started now would be another than what runs.

        Raises:
            PtBridgeError: as `read_owner_config`, `find_pt` and `finds_outer`; then
                nothing has changed. Of several PTs' programs one is enough.
        """
        new = Programs(self._config, self._variables)
        new.read_owner_config()
        found = {}
        missing = None
        for transport, *_ in new.by_program():
            try:
                there = program.find(new._pts[transport], self._variables)
                found[transport] = there.identity
            except ProgramError as error:
                missing = error
        if missing is not None and not found:
            raise missing
        if self._config.via is not None:
            found[VIA] = new._look_for_outer(self._config.via).identity
            self._outer = new._outer
        self._pts = new._pts
        return found != self._identities

    @property
    def pt_arguments(self) -> Sequence[str]:
        """What the owner's line puts on the PT's command line."""
        return self._pts[self._config.transport].arguments

    def find_pt(self, transport: str = "") -> Pt:
        """Find a PT's program, which may be another one each time.

        Args:
            transport: one that it is for; the first, where not said.

        Raises:
            ProgramError: it is not there, or may not be executed.
        """
        transport = transport or self._config.transport
        found = program.find(self._pts[transport], self._variables)
        _report(found, str(found))
        self._identities[transport] = found.identity
        return found

    @property
    def finds_outer(self) -> Callable[[], FoundProgram] | None:
        """What finds the program of the plugin outside the PT, if one is wanted."""
        return None if self._config.via is None else self._find_outer

    def _find_outer(self) -> FoundProgram:
        via = self._config.via
        assert via is not None  # the only one who asks has looked
        found = self._look_for_outer(via)
        _report(found, f"{found} for via={via.name}")
        self._identities[VIA] = found.identity
        return found

    def _look_for_outer(self, via: Via) -> FoundProgram:
        return outer_program.find(
            via, self._outer, self._variables, server=self._config.server
        )


def _report(found: FoundProgram, what: str) -> None:
    for sentence in found.passed_over:
        logger.warning("%s", sentence)
    logger.info("starting %s", what)
