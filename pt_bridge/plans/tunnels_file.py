"""The file of ``pt-bridge run``: TOML in, one plan for each tunnel out.

::

    [[server]]
    name = "home"
    listen = ["0.0.0.0:443", "[::]:443"]
    service = "127.0.0.1:8388"
    transport = "obfs4"

    [[client]]
    name = "away"
    listen = ["127.0.0.1:1984"]
    server = "192.0.2.1:443"
    plugin-opts = "transport=obfs4;session=1;cert=...;iat-mode=0"

A tunnel's table is read in `pt_bridge.plans.plan`.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import OptionsError, OwnerFileError
from pt_bridge.options import option_values
from pt_bridge.options.operator_options import metrics_place
from pt_bridge.options.option_values import LOG_LEVELS
from pt_bridge.options.own_options import CLIENT, SERVER
from pt_bridge.plans import toml_values
from pt_bridge.plans.plan import OF_THE_PROCESS, read_plan
from pt_bridge.protocol.address import overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.plans.plan import Plan
    from pt_bridge.plans.toml_values import Table
    from pt_bridge.protocol.address import Address

MAX_TUNNELS = 1000
TABLES = (SERVER, CLIENT, "log", "metrics")


class TunnelsFile(NamedTuple):
    """All that a file says.

    Attributes:
        plans: its tunnels, in order.
        loglevel: one of `option_values.LOG_LEVELS`.
        logfile: where to log, too, or None.
        unsafe_logging: whether addresses stay in the log.
        metrics: where numbers are served: an address, a Unix socket's path, or None.
    """

    plans: Sequence[Plan]
    loglevel: str
    logfile: str | None
    unsafe_logging: bool
    metrics: Address | str | None

    def notes_on_change(self, before: TunnelsFile) -> list[str]:
        """Say what of the whole process is not as before, and stays as it was."""
        log = (self.loglevel, self.logfile, self.unsafe_logging)
        changed = [
            *(["[log]"] * (log != before[1:4])),
            *(["[metrics]"] * (self.metrics != before.metrics)),
        ]
        return [f"{each} has changed: restart pt-bridge for that" for each in changed]


def read(data: bytes, path: str) -> TunnelsFile:
    """Read a file of tunnels.

    Args:
        data: what it holds.
        path: what it is called in errors.

    Raises:
        OwnerFileError: it is none; it says where, and what to write.
    """
    try:
        return _read(data)
    except OwnerFileError as error:
        raise OwnerFileError(f"{path}: {error}") from None


def _read(data: bytes) -> TunnelsFile:
    try:
        whole = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise OwnerFileError("it must be UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OwnerFileError(f"it must be TOML: {_first_line(error)}") from None
    toml_values.check_keys(whole, TABLES, "the file")
    log = toml_values.table(whole.get("log", {}), "[log]")
    toml_values.check_keys(log, _keys_of("[log]"), "[log]")
    level = log.get("level", option_values.DEFAULT_LOG_LEVEL)
    if level not in LOG_LEVELS:
        raise OwnerFileError(f"[log]: level must be one of: {', '.join(LOG_LEVELS)}")
    plans = [
        read_plan(table, role, number)
        for role in (SERVER, CLIENT)
        for number, table in enumerate(toml_values.tables(whole, role), 1)
    ]
    if not plans:
        raise OwnerFileError("it names no tunnel: write a [[server]] or a [[client]]")
    if len(plans) > MAX_TUNNELS:
        raise OwnerFileError(f"it names more than {MAX_TUNNELS} tunnels")
    _check_names(plans)
    _check_ports(plans)
    _check_state(plans)
    return TunnelsFile(
        plans,
        str(level),
        toml_values.optional_text(log, "file", "[log]"),
        toml_values.flag(log.get("unsafe", False), "[log]: unsafe"),
        _metrics(toml_values.table(whole.get("metrics", {}), "[metrics]")),
    )


def _keys_of(table: str) -> list[str]:
    return [key for where, key in OF_THE_PROCESS.values() if where == table]


def _metrics(table: Table) -> Address | str | None:
    """Read where numbers are served."""
    toml_values.check_keys(table, _keys_of("[metrics]"), "[metrics]")
    place = toml_values.optional_text(table, "listen", "[metrics]")
    try:
        return None if place is None else metrics_place(place)
    except OptionsError as error:
        text = str(error).replace("metrics=", "listen=").replace("= ", " ", 1)
        raise OwnerFileError(f"[metrics]: {text}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _check_names(plans: Sequence[Plan]) -> None:
    names: set[str] = set()
    for plan in plans:
        if plan.name in names:
            raise OwnerFileError(
                f"two tunnels are called '{plan.name}': rename one of them"
            )
        names.add(plan.name)


def _check_ports(plans: Sequence[Plan]) -> None:
    taken: list[tuple[Address, Plan]] = []
    for plan in plans:
        for address in plan.listen:
            for other, holder in taken:
                if overlap(address, other):
                    raise OwnerFileError(
                        f"{holder.where} and {plan.where} both listen on port "
                        f"{address.port}: give one of them another"
                    )
        taken += [(address, plan) for address in plan.listen]


def _check_state(plans: Sequence[Plan]) -> None:
    folders: dict[str, Plan] = {}
    for plan in plans:
        state = plan.flags.get("state")
        if state is None:
            continue
        if state in folders:
            raise OwnerFileError(
                f"{folders[state].where} and {plan.where} have the same state: give "
                f"each a folder of its own"
            )
        folders[state] = plan
