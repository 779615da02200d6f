"""The program of another plugin: found as a PT's is, or this very pt-bridge."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pt_bridge
from pt_bridge.errors import StateError
from pt_bridge.files import program, state_dir
from pt_bridge.files.program import FoundProgram
from pt_bridge.options.outer_plugins import PT_BRIDGE, check
from pt_bridge.protocol import pt_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.files.owner_config import ProgramChoice
    from pt_bridge.options.plugin_options import Via

# Where a pt-bridge outside this one keeps its keys: a folder in our state directory, so
# that two servers for one port, one over the other, have each its own.
STATE_FOLDER = "via"
THIS = "this pt-bridge"
CODE = """\
import sys
sys.path.insert(0, {folder!r})
from pt_bridge.main import main
sys.exit(main())
"""


def find(
    via: Via,
    wanted: ProgramChoice,
    variables: Mapping[bytes, bytes],
    *,
    server: bool,
) -> FoundProgram:
    """Find it, and see that it is for our side.

    Args:
        via: what is asked for.
        wanted: what the owner's files say of it, or the catalogue.
        variables: our environment.
        server: whether we are the server side.

    Raises:
        OptionsError: it is for the other side.
        ProgramError: it is not there, or may not be executed.
    """
    check(via.name, via.options, server=server, has_arguments=bool(wanted.arguments))
    if via.name != PT_BRIDGE:
        return program.find(wanted, variables, what="plugin")
    if wanted.whence:
        found = program.find(wanted, variables, what="plugin")
    else:
        found = _this_one(variables)
    return found._replace(inherited={**found.inherited, **_state(variables)})


def _this_one(variables: Mapping[bytes, bytes]) -> FoundProgram:
    folder = os.path.dirname(os.path.dirname(os.path.abspath(pt_bridge.__file__)))
    arguments = ("-I", "-c", CODE.format(folder=folder))
    inherited = pt_environment.inherited(variables)
    return FoundProgram(sys.executable, arguments, THIS, inherited, ())


def _state(variables: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    try:
        folder = os.path.join(state_dir.base(variables), STATE_FOLDER)
    except StateError:  # it says so itself, if it needs one
        return {}
    return {b"STATE_DIRECTORY": os.fsencode(folder)}
