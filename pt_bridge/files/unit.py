"""What a systemd unit starts: the command, and the environment that it has.

Asked of systemd, or of the process itself where the unit runs. The file of one of our
own units (``/etc/pt-bridge/NAME.conf``) is read without systemd.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ConfigError, OptionsError, ProtocolError, UsageError
from pt_bridge.formats.host_command import PROGRAMS
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import is_wildcard, parse_host_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# ``NAME.service``, and an instance without that: nothing else that people give us looks
# like either.
UNIT = re.compile(r"[\w.\\-]+@?[\w.\\-]*\.service|[\w.\\-]+@[\w.\\-]+", re.ASCII)
CONF = re.compile(r"/(?:.*/)?pt-bridge/([^/]+)\.conf", re.ASCII)
# How long systemd may take to answer (seconds).
SYSTEMCTL_LIMIT = 10.0
MAX_SIZE = 64 * 1024  # of a file that is read, in bytes
PROPERTIES = (
    *("LoadState", "MainPID", "ExecStart", "Environment", "EnvironmentFiles"),
    "StateDirectory",
)
ARGUMENTS = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")
ENVIRONMENT_FILE = re.compile(r"(/.*) \(ignore_errors=(?:yes|no)\)")
# systemd's own for what it starts.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATE = "/var/lib"
# What tells where things are, of an environment.
KEPT = ("PATH", "HOME", "STATE_DIRECTORY", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
VARIABLE = re.compile(r"\$\{(\w+)\}", re.ASCII)
ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)=(.*)", re.ASCII)


class Service(NamedTuple):
    """What a service is started with.

    Attributes:
        words: its command, the program's path or name first.
        variables: where its things are (`KEPT`).
    """

    words: list[str]
    variables: dict[bytes, bytes]


def is_unit(text: str) -> bool:
    """Whether somebody names a unit, or the file of one of ours."""
    return bool(UNIT.fullmatch(text) or CONF.fullmatch(text))


def read(text: str) -> Service:
    """Return what is started under this name.

    Args:
        text: a unit's name, or ``/etc/pt-bridge/NAME.conf``.

    Raises:
        UsageError: there is no such unit or file, or it starts no program that we know.
    """
    named = CONF.fullmatch(text)
    if named:
        return _from_conf(named[1], parse_environment(_content(text)))
    known = _properties(text)
    pid = int(known["MainPID"][0] or 0)
    service = _running(pid) if pid else None
    if service is None:
        service = _stopped(known)
    return service._replace(words=_known(text, service.words))


def _properties(name: str) -> dict[str, list[str]]:
    """Return what systemd tells of a unit, the values of each property."""
    program = shutil.which("systemctl")
    if program is None:
        raise UsageError(
            f"{name} names a unit, and there is no systemd here to ask: name a file "
            f"instead, as config.json or /etc/pt-bridge/NAME.conf"
        )
    flags = [f"--property={','.join(PROPERTIES)}", "--all", "--", name]
    try:
        done = subprocess.run(
            [program, "show", *flags],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SYSTEMCTL_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise UsageError(f"systemd does not tell what {name} is") from None
    if done.returncode != 0:
        raise UsageError(f"systemd does not tell what {name} is")
    found: dict[str, list[str]] = {each: [] for each in PROPERTIES}
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    if found["LoadState"] != ["loaded"]:
        raise UsageError(
            f"there is no unit {name}: 'systemctl list-units --all' names those that "
            f"there are"
        )
    return found


def _running(pid: int) -> Service | None:
    """Return what a process was started with; None where we may not look."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = [pair.partition(b"=") for pair in file.read().split(b"\0")]
    except OSError:
        return None
    wanted = {name.encode() for name in KEPT}
    return Service(words, {key: value for key, _, value in pairs if key in wanted})


def _stopped(known: Mapping[str, list[str]]) -> Service:
    """Return what systemd would start."""
    variables = {"PATH": PATH}
    for line in known["Environment"]:
        for pair in shlex.split(line):
            key, _, value = pair.partition("=")
            variables[key] = value
    for line in known["EnvironmentFiles"]:
        match = ENVIRONMENT_FILE.fullmatch(line)
        if match and os.path.exists(match[1]):
            variables |= parse_environment(_content(match[1]))
    folders = [
        f"{STATE}/{each}" for line in known["StateDirectory"] for each in line.split()
    ]
    if folders:
        variables["STATE_DIRECTORY"] = ":".join(folders)
    match = ARGUMENTS.search(" ".join(known["ExecStart"]))
    return Service(
        expand(match[1].split(" "), variables) if match else [], _kept(variables)
    )


def _kept(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    return {
        name.encode(): os.fsencode(variables[name])
        for name in KEPT
        if variables.get(name)
    }


def expand(words: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """Expand variables as systemd does: ``${X}`` in its word, ``$X`` into words."""
    found: list[str] = []
    for word in words:
        if word.startswith("$") and word[1:].isidentifier():
            found += variables.get(word[1:], "").split()
        else:
            found.append(VARIABLE.sub(lambda match: variables.get(match[1], ""), word))
    return found


def parse_environment(text: str) -> dict[str, str]:
    """Read a file as systemd's EnvironmentFile= does.

    Quotes around a value go, and between single ones everything stands for itself.
    """
    found: dict[str, str] = {}
    for line in text.replace("\\\n", "").splitlines():
        match = ASSIGNMENT.fullmatch(line)
        if match is None:
            continue
        value = match[2].strip()
        if len(value) > 1 and value[0] == value[-1] == "'":
            value = value[1:-1]
        elif len(value) > 1 and value[0] == value[-1] == '"':
            value = re.sub(r'\\(["\\$`])', r"\1", value[1:-1])
        else:
            value = re.sub(r"\\(.)", r"\1", value)
        found[match[1]] = value
    return found


def _known(name: str, words: list[str]) -> list[str]:
    """Return a command from its program on, which an interpreter may run."""
    for number, word in enumerate(words):
        if os.path.basename(word) in PROGRAMS:
            return words[number:]
    raise UsageError(
        f"{name} starts neither shadowsocks nor pt-bridge, as far as one can see"
    )


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_SIZE).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _from_conf(name: str, given: Mapping[str, str]) -> Service:
    """Return what our own unit would start that has this file."""
    missing = [key for key in ("LOCAL", "REMOTE", "OPTIONS") if not given.get(key)]
    if missing:
        raise UsageError(f"{', '.join(missing)} is missing in {name}.conf")
    role = "server" if _is_server(given) else "client"
    words = ["pt-bridge", role, "--local", given["LOCAL"], "--remote", given["REMOTE"]]
    words += ["--plugin-opts", given["OPTIONS"], *given.get("FLAGS", "").split()]
    variables = {"PATH": PATH, "STATE_DIRECTORY": f"{STATE}/pt-bridge-{role}/{name}"}
    return Service(words, _kept(variables))


def _is_server(given: Mapping[str, str]) -> bool:
    """Whether our server's unit reads a file, or the client's: neither says so."""
    try:
        if is_wildcard(parse_host_port(given["REMOTE"]).host):
            return True
        variables = variables_from_flags(
            local=given["LOCAL"],
            remote=given["REMOTE"],
            plugin_options=given["OPTIONS"],
        )
        return Config(variables, plugin=False).server
    except OptionsError:  # it lacks what a client needs
        return True
    except (ConfigError, ProtocolError):  # the walk says what is wrong with it
        return False
