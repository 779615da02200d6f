"""``pt-bridge run FILE.toml``: read the file, and check that all of it can be had."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pt_bridge.cli.parser import RUN
from pt_bridge.errors import (
    ConfigError,
    ListenError,
    OptionsError,
    OwnerFileError,
    StateError,
)
from pt_bridge.files import (
    bridges_file,
    operator_files,
    owner_config,
    state_dir,
    trust,
)
from pt_bridge.net.bind import bind, holder
from pt_bridge.options.config import Config
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.plans import tunnels_file
from pt_bridge.pt import program
from pt_bridge.text.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_bridge.plans.plan import Plan
    from pt_bridge.plans.tunnels_file import TunnelsFile
    from pt_bridge.protocol.address import Address

# What a process is called that is one of us.
OURS = frozenset({"pt-bridge", "pt_bridge"})
MAX_SIZE = 1024 * 1024  # bytes


def check(path: str) -> tuple[str, list[str]]:
    """Look at a file, and at all that can be known before a start.

    Returns:
        A line that says that it is right, and what there is to say besides.

    Raises:
        ConfigError: it is not right.
    """
    file, planned = read(path)
    _check_log(file.logfile, path)
    notes = []
    for plan, config in planned:
        notes += [f"{plan.where}: {each}" for each in config.warnings]
        for address in plan.listen:
            if note := _check_port(address, f"{path}: {plan.where}"):
                notes.append(f"{plan.where}: {note}")
    number = "1 tunnel" if len(planned) == 1 else f"{len(planned)} tunnels"
    return f"{path} is right: {number}\n", notes


def _check_log(logfile: str | None, path: str) -> None:
    """See that a file could be written to; one in the state directory is made."""
    if logfile is None or not os.path.isabs(logfile):
        return
    folder = os.path.dirname(logfile)
    may_write = os.access(logfile if os.path.exists(logfile) else folder, os.W_OK)
    if os.path.isdir(logfile) or os.path.islink(logfile) or not may_write:
        raise OwnerFileError(
            f"{path}: [log]: file: {logfile} cannot be written: it must be a file that "
            f"this user may write to, or a new one in a folder where he may"
        )


def _check_port(address: Address, where: str) -> str:
    """See that an address could be listened on; return what cannot be known."""
    try:
        os.close(bind(address, patience=0, is_server=True))
    except ListenError as error:
        found = holder(address.port) if error.number == errno.EADDRINUSE else None
        if found is not None and _is_run(found[0]):
            return ""  # it gives that up, or keeps it
        is_hidden = error.number == errno.EADDRINUSE and found is None
        if is_hidden or error.number == errno.EACCES:
            return f"{error}; unless pt-bridge, as it runs here, may"
        raise ListenError(f"{where}: {error}") from None
    return ""


def _is_run(pid: int) -> bool:
    """Whether a process is a ``pt-bridge run``, or was started by one."""
    import psutil  # slow, and only needed here

    try:
        process = psutil.Process(pid)
        commands = [each.cmdline() for each in (process, *process.parents())]
    except psutil.Error:
        return False
    return any(
        RUN in words and not OURS.isdisjoint(map(os.path.basename, words))
        for words in commands
    )


def read(path: str) -> tuple[TunnelsFile, Sequence[tuple[Plan, Config]]]:
    """Read a file of tunnels, find the program of each, and see that files are there.

    Raises:
        ConfigError: something is wrong with it, or missing; it says where.
    """
    if os.path.exists(path) and (flaw := trust.unsafe_because(os.path.abspath(path))):
        raise OwnerFileError(f"{path} is not believed, since {flaw}")
    file = tunnels_file.read(_content(path), path)
    planned = [(plan, _config(plan, path)) for plan in file.plans]
    _check_folders(planned, path)
    return file, planned


def _check_folders(planned: Sequence[tuple[Plan, Config]], path: str) -> None:
    """See that no two servers keep their keys in one folder.

    Where nobody has said so, but they have one port on several addresses, that is only
    warned of.

    Raises:
        ConfigError: two do.
    """
    found: dict[str, Plan] = {}
    for plan, config in planned:
        if not config.server:
            continue
        try:
            folder = state_dir.folder(config, os.environb)
        except StateError:  # which is told when it is started
            continue
        other = found.setdefault(folder, plan)
        if other is plan:
            continue
        text = f"{other.where} and {plan.where} keep their keys in one folder, {folder}"
        if config.state is not None:
            raise OwnerFileError(f"{path}: {text}: give each a state of its own")
        config.warnings.append(
            f"{text}, so that who may use one may use the other: for keys of its own "
            f"give it a state of its own"
        )


def _content(path: str) -> bytes:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        with open(os.open(path, flags), "rb") as file:
            data = file.read(MAX_SIZE + 1) or b""
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise OwnerFileError(f"cannot read {path}: {why}") from None
    if len(data) > MAX_SIZE:
        raise OwnerFileError(f"{path} is larger than 1 MiB: that is no such file")
    return data


def _config(plan: Plan, path: str) -> Config:
    try:
        config = Config(
            plan.variables,
            plugin=False,
            flags=plan.flags,
            is_allowed=lambda option: owner_config.allows(option, os.environb),
            bridges=lambda name: bridges_file.read(name, os.environb),
            program_flags=lambda config, transport: (
                owner_config.wanted(config, os.environb, transport).arguments
            ),
        )
        _check_transports(config)
        program.find(owner_config.wanted(config, os.environb), os.environb)
        operator_files.check(config)
    except ConfigError as error:
        text = plan.in_its_words(str(error))
        raise type(error)(f"{path}: {plan.where}: {text}") from None
    return config


def _check_transports(config: Config) -> None:
    """See that somebody may know each transport: we, the owner's file, or ``exec=``.

    Raises:
        ConfigError: nobody does; it names the nearest that we know.
    """
    known = f": it knows {', '.join(sorted(TRANSPORTS))}."
    for transport in config.transports:
        if transport in TRANSPORTS or config.exec is not None:
            continue
        if not owner_config.wanted(config, os.environb, transport).whence:
            nearest = did_you_mean(transport, TRANSPORTS)
            raise OptionsError(
                f"pt-bridge knows no transport '{transport}'"
                f"{nearest or known} If a PT of yours offers it, name that with "
                f"--exec, or in pt-bridge.conf"
            )
