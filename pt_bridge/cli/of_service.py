"""Which configuration doctor checks where a systemd unit is named."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from pt_bridge.cli import read_input
from pt_bridge.errors import ProtocolError, UsageError
from pt_bridge.formats import host_command, json_text
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.profiles.forms import PLUGIN

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from pt_bridge.doctor.request import Request
    from pt_bridge.files.unit import Service

# Of our own environment, what says nothing of a service.
OURS = (b"HOME", b"STATE_DIRECTORY", b"XDG_STATE_HOME", b"XDG_CONFIG_HOME")
FILE_FLAGS = ("-c", "--config")


def amend(
    request: Request,
    service: Service,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    flags_of: Callable[[argparse.Namespace], dict[str, str | None]],
) -> tuple[Request, dict[bytes, bytes]]:
    """Return the request with what a service is started with, and its environment.

    Args:
        request: what the command line says, which comes first.
        service: what is started.
        parse: reads pt-bridge's own command line.
        flags_of: returns our own options of that.

    Raises:
        UsageError: the service's command cannot be read.
    """
    kept = {key: value for key, value in os.environb.items() if key not in OURS}
    variables = {**kept, **service.variables}
    if os.path.basename(service.words[0]) != PLUGIN:
        text = configuration(service.words)
        return replace(request, text=text, is_service=True), variables
    given = parse(service.words[1:])
    if given.command not in (CLIENT, SERVER):
        raise UsageError("that unit starts pt-bridge neither as client nor as server")
    flags = {**flags_of(given), **request.flags}
    if given.command == SERVER:
        flags[SERVER] = None
    options = request.plugin_opts
    amended = replace(
        request,
        plugin_opts=given.plugin_opts if options is None else options,
        local=request.local or given.local,
        remote=request.remote or given.remote,
        flags=flags,
        is_service=True,
    )
    return amended, variables


def configuration(words: Sequence[str]) -> str:
    """Return the config.json that a command of shadowsocks's comes to."""
    rest, path = [words[0]], None
    following = iter(words[1:])
    for word in following:
        if word in FILE_FLAGS:
            path = next(following, None)
        else:
            rest.append(word)
    try:
        values: object = host_command.parse(shlex.join(rest)).values
        text = json.dumps(values)
        if path is not None:
            text = read_input.read(os.path.abspath(path))
        if path is not None and values:
            known = json_text.load(text)
            if isinstance(known, dict) and isinstance(values, dict):
                text = json.dumps({**known, **values})
    except ProtocolError as error:
        raise UsageError(f"the unit's command cannot be read: {error}") from None
    return text
