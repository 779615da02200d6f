"""What a server's clients need, from the server's own configuration and its state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pt_bridge.errors import ConfigError, UsageError
from pt_bridge.files import owner_config, state_dir
from pt_bridge.options.config import Config
from pt_bridge.options.own_options import SERVER
from pt_bridge.options.ss_variables import (
    LOCAL_HOST,
    LOCAL_PORT,
    PLUGIN_OPTIONS,
    REMOTE_HOST,
    REMOTE_PORT,
)
from pt_bridge.profiles import convert, pasted_options
from pt_bridge.profiles.forms import PLUGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_bridge.formats.profile import Profile

# More than any line that we write (bytes).
MAX_LINE = 64 * 1024


def is_server(profile: Profile) -> bool:
    """Whether a profile is the server's own, and not for its clients."""
    if profile.program != PLUGIN:
        return False
    own, _ = pasted_options.sorted_options(profile)
    return SERVER in own


def of_profile(
    profile: Profile,
    path: str | None = None,
    variables: Mapping[bytes, bytes] | None = None,
) -> Profile:
    """Return what clients of a server need.

    Args:
        profile: the server's own.
        path: its client-options.txt; None for where a server of this machine has it.
        variables: the environment of the service that it is; None for our own.

    Raises:
        UsageError: there is no such file; it says where it was looked for.
    """
    if path is None:
        is_service = variables is not None
        variables = os.environb if variables is None else variables
        config = _config(profile, variables)
        path = client_options_path(config, variables, is_service=is_service)
    return convert.for_clients(profile, read_line(path))


def client_options_path(
    config: Config, variables: Mapping[bytes, bytes], *, is_service: bool = False
) -> str:
    """Return where a server writes its clients' line, be it there or not.

    Args:
        config: the server's.
        variables: its environment.
        is_service: whether it may be another user's, whose files root may read.

    Raises:
        StateError: its state directory cannot be trusted.
    """
    folder, _ = state_dir.look(config, variables, is_service=is_service)
    return os.path.join(folder, state_dir.CLIENT_OPTIONS)


def read_line(path: str) -> str:
    """Read a client-options.txt.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(MAX_LINE).strip()
    except FileNotFoundError:
        raise UsageError(
            f"the clients' line is not there: the server writes {path} when it has "
            f"started; if it runs elsewhere, copy that file here and name it with "
            f"--client-options FILE"
        ) from None
    except OSError as error:
        why = (error.strerror or "").lower()
        raise UsageError(f"cannot read {path}: {why}") from None


def _config(profile: Profile, environment: Mapping[bytes, bytes]) -> Config:
    """Read a server's configuration as its pt-bridge does."""
    if profile.port is None:
        raise UsageError("the server's own configuration does not say its port")
    variables = {
        REMOTE_HOST: "|".join(profile.hosts) or "0.0.0.0",
        REMOTE_PORT: str(profile.port),
        LOCAL_HOST: "127.0.0.1",
        LOCAL_PORT: "1",
        PLUGIN_OPTIONS: profile.plugin_opts,
    }
    try:
        return Config(
            {key: text.encode() for key, text in variables.items()},
            is_allowed=lambda option: owner_config.allows(option, environment),
        )
    except ConfigError as error:
        raise UsageError(f"the server's options are wrong: {error}") from None
