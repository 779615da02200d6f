"""One machine with everything on it: it starts the programs, and cleans up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

from integration.support.endpoints import connect, connect_through, free_port
from integration.support.programs import (
    LYREBIRD_FOLDER,
    MARK,
    Program,
    find,
    kill_marked,
    marked,
    path_folders,
    wait_until_gone,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import psutil

    from integration.support.endpoints import Address
    from integration.support.internet import Site

PASSWORD = "sS-kW3vQ9-tZ7xR2"
METHOD = "aes-128-gcm"
# What tells clients of the server, in the log.
OPTIONS_PATH = re.compile(r"plugin options(?: are)? in (\S+)$", re.MULTILINE)
SECRETS = re.compile(r"\b(?:cert|password|private-key|drbg-seed)=([^;\s]{6,})")
# setpriv: an ordinary user who still may read our checkout and our folders.
NOBODY = 65534
AS_NOBODY = (
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
)
NOBODYS_RIGHTS = ("dac_read_search",)


def shadowsocks_json(port: int, options: str, **more: object) -> str:
    """Return a configuration of shadowsocks's, with pt-bridge for its plugin.

    Args:
        port: the server's.
        options: the plugin's.
        more: what else is said, or said otherwise.
    """
    configuration = {
        "server": "127.0.0.1",
        "server_port": port,
        "password": PASSWORD,
        "method": METHOD,
        "plugin": "pt-bridge",
        "plugin_opts": options,
        **more,
    }
    return json.dumps(configuration)


class Machine:
    """Starts programs in a folder of its own, and knows all that descends from them.

    Attributes:
        folder: where they run, and keep their state.
        temporary: their TMPDIR.
        secrets: what must be in no output.
    """

    def __init__(self, folder: Path, site: Site | None = None) -> None:
        """Create one in an empty folder.

        Args:
            folder: the folder.
            site: the network that its programs are in, if not ours.
        """
        self.folder = folder
        self._before = [] if site is None else site.command(folder)
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.secrets = {PASSWORD}
        self._mark = str(folder)
        self._programs: list[Program] = []
        self._pts: list[Program] = []

    def variables(self) -> dict[str, str]:
        """Return the environment of what is run here."""
        return {
            "PATH": os.pathsep.join(path_folders()),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "XDG_STATE_HOME": str(self.folder / "state"),
            "TMPDIR": str(self.temporary),
            MARK: self._mark,
        }

    def with_lyrebird(self) -> dict[str, str]:
        """Return the same with lyrebird and webtunnel in front of PATH."""
        for name in ("lyrebird", "webtunnel-server"):
            find(name, path=LYREBIRD_FOLDER)
        variables = self.variables()
        variables["PATH"] = os.pathsep.join([LYREBIRD_FOLDER, variables["PATH"]])
        return variables

    def start(
        self,
        name: str,
        *arguments: str,
        variables: dict[str, str] | None = None,
        nobody: bool = False,
        rights: Sequence[str] = (),
    ) -> Program:
        """Start a program.

        Args:
            name: a program in PATH.
            arguments: its arguments.
            variables: its environment, if not the usual one.
            nobody: run it as an ordinary user, where we are not one.
            rights: capabilities for this user, as AmbientCapabilities= gives them.
        """
        if variables is None:
            variables = self.variables()
        command = [find(name, path=variables.get("PATH")), *arguments]
        if nobody and os.geteuid() == 0:
            command[0] = self._without_rights(command[0])
            given = ",+".join(["-all", *NOBODYS_RIGHTS, *rights])
            setting = (f"--inh-caps={given}", f"--ambient-caps={given}")
            command = [find("setpriv"), *AS_NOBODY, *setting, *command]
        for argument in arguments:
            self.secrets |= _secrets(argument)
        program = Program([*self._before, *command], variables, self.folder)
        self._programs.append(program)
        return program

    def start_pt(self, name: str, variables: Mapping[str, str]) -> Program:
        """Start a PT as Tor does: what it writes is for who has started it.

        Args:
            name: a program in PATH, or in lyrebird's folder.
            variables: those of pt-spec 3.2, without what is the same for all.
        """
        pt = self.start(
            name,
            variables={
                **self.with_lyrebird(),
                "TOR_PT_MANAGED_TRANSPORT_VER": "1",
                "TOR_PT_EXIT_ON_STDIN_CLOSE": "0",
                **variables,
            },
        )
        self._pts.append(pt)
        return pt

    def _without_rights(self, path: str) -> str:
        """Copy a program without its file capabilities.

        Debian's ss-server has some, so the kernel would take from it, and from all that
        it starts, the right to read our folders that we gave it.
        """
        if not path.startswith("/usr/bin/ss-"):
            return path
        copy = self.folder / os.path.basename(path)
        shutil.copyfile(path, copy)
        copy.chmod(0o755)
        return str(copy)

    def plugin(
        self,
        options: str | None,
        *,
        remote: Address = ("127.0.0.1", 1),
        local: Address | None = None,
        variables: dict[str, str] | None = None,
        nobody: bool = False,
    ) -> Program:
        """Start pt-bridge as a plugin, without a host around it."""
        local = local or ("127.0.0.1", free_port())
        settings = {
            **(self.variables() if variables is None else variables),
            "SS_REMOTE_HOST": remote[0],
            "SS_REMOTE_PORT": str(remote[1]),
            "SS_LOCAL_HOST": local[0],
            "SS_LOCAL_PORT": str(local[1]),
        }
        if options is not None:
            settings["SS_PLUGIN_OPTIONS"] = options
            self.secrets |= _secrets(options)
        return self.start("pt-bridge", variables=settings, nobody=nobody)

    def pt_bridge(
        self,
        role: str,
        options: str,
        *flags: str,
        local: Address,
        remote: Address,
        variables: dict[str, str] | None = None,
    ) -> Program:
        """Start ``pt-bridge client`` or ``pt-bridge server``."""
        return self.start(
            "pt-bridge",
            role,
            f"--local={local[0]}:{local[1]}",
            f"--remote={remote[0]}:{remote[1]}",
            f"--plugin-opts={options}",
            *flags,
            variables=variables,
        )

    def ss_server(
        self,
        port: int,
        options: str,
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        variables: dict[str, str] | None = None,
        nobody: bool = False,
        rights: Sequence[str] = (),
    ) -> Program:
        """Start ss-server with pt-bridge for its plugin."""
        arguments = [
            *(word for host in hosts for word in ("-s", host)),
            *("-p", str(port), "-k", PASSWORD, "-m", METHOD),
            *("--plugin", "pt-bridge", "--plugin-opts", options),
        ]
        return self.start(
            "ss-server", *arguments, variables=variables, nobody=nobody, rights=rights
        )

    def ss_local(
        self,
        port: int,
        socks_port: int,
        options: str,
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        variables: dict[str, str] | None = None,
        nobody: bool = False,
    ) -> Program:
        """Start ss-local with pt-bridge for its plugin."""
        arguments = [
            *(word for host in hosts for word in ("-s", host)),
            *("-p", str(port), "-l", str(socks_port), "-k", PASSWORD, "-m", METHOD),
            *("--plugin", "pt-bridge", "--plugin-opts", options),
        ]
        if all(":" in host for host in hosts):
            arguments += ["-b", "127.0.0.1"]  # else it would choose ::1, too
        return self.start("ss-local", *arguments, variables=variables, nobody=nobody)

    def web_server(self, port: int) -> Program:
        """Start a web server, and wait until it listens."""
        program = self.start(
            "python3", "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1"
        )
        program.wait_for("Serving HTTP")
        return program

    def config_json(self, port: int, options: str, **more: object) -> str:
        """Write a configuration of shadowsocks's, and return its path."""
        path = self.folder / "config.json"
        path.write_text(shadowsocks_json(port, options, **more))
        return str(path)

    def client_options(self, server: Program) -> str:
        """Wait until a server is ready; read what its clients must use."""
        server.wait_for("ready: ")
        path = OPTIONS_PATH.findall(server.text)[-1]
        with open(path, encoding="utf-8") as file:
            options = file.read()
        assert options.endswith("\n")
        self.secrets |= _secrets(options)
        return options.strip()

    def chain(
        self,
        *,
        server_options: str = "server;transport=obfs4",
        client_options: str | Callable[[str], str] = "",
        server_hosts: Sequence[str] = ("127.0.0.1",),
        client_hosts: Sequence[str] = ("127.0.0.1",),
        variables: dict[str, str] | None = None,
    ) -> Chain:
        """Start ss-server and ss-local with a tunnel between them.

        Args:
            server_options: the server's plugin options.
            client_options: added to what the server says that clients must use, or
                what makes the client's options of that.
            server_hosts: where the server listens.
            client_hosts: where the client looks for the server.
            variables: the environment, if not the usual one.
        """
        port, socks_port = free_port(), free_port()
        server = self.ss_server(
            port, server_options, hosts=server_hosts, variables=variables
        )
        options = self.client_options(server)
        await_ss_server(server)
        client = self.ss_local(
            port,
            socks_port,
            _combined(options, client_options),
            hosts=client_hosts,
            variables=variables,
        )
        await_ss_local(client)
        return Chain(server, client, port, socks_port, options)

    def pair(
        self,
        far: Address,
        *,
        server_options: str = "transport=obfs4;exec=obfs4proxy",
        client_options: str | Callable[[str], str] = ";exec=obfs4proxy",
        remote: Address | None = None,
        variables: dict[str, str] | None = None,
        server_variables: dict[str, str] | None = None,
    ) -> Pair:
        """Start ``pt-bridge server`` and ``pt-bridge client``, with a tunnel between.

        Args:
            far: the service behind the server.
            server_options: the server's plugin options.
            client_options: added to what the server says that clients must use, or
                what makes the client's options of that.
            remote: where the server listens, if that matters.
            variables: the environment, if not the usual one.
            server_variables: the server's, if it is another one.
        """
        local = ("127.0.0.1", free_port())
        remote = remote or ("127.0.0.1", free_port())
        server = self.pt_bridge(
            "server",
            server_options,
            local=far,
            remote=remote,
            variables=server_variables or variables,
        )
        options = self.client_options(server)
        client = self.pt_bridge(
            "client",
            _combined(options, client_options),
            local=local,
            remote=remote,
            variables=variables,
        )
        client.wait_for("ready: ")
        return Pair(server, client, local, remote)

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return everything that runs here, by name."""
        found: dict[str, list[psutil.Process]] = {}
        for process in marked(self._mark):
            found.setdefault(process.name(), []).append(process)
        return found

    def nothing_is_left(self) -> None:
        """Wait until no process is left here; fail where one is."""
        wait_until_gone(self._mark)

    def close(self) -> None:
        """End everything, and look at what was said and left (SE-05, LC-09)."""
        self.end()
        self._no_secret_was_told()

    def kill(self) -> None:
        """Kill everything that was started here."""
        for program in self._programs:
            if program.runs:
                program.signal(signal.SIGKILL)

    def end(self) -> None:
        """End everything, and look at what was left (LC-09)."""
        for program in self._programs:
            if program.runs:
                program.signal(signal.SIGTERM)
        try:
            for program in self._programs:
                program.wait()
            self.nothing_is_left()
        finally:
            kill_marked(self._mark)
            for program in self._programs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(program.pid, signal.SIGKILL)
                program.close()

    def said(self) -> list[str]:
        """Return all that was written, by programs that are no PTs and to log files."""
        logs = [path.read_bytes().decode() for path in self.folder.rglob("*.log")]
        ours = [it for it in self._programs if it not in self._pts]
        return [*(program.text for program in ours), *logs]

    def _no_secret_was_told(self) -> None:
        for path in self.folder.rglob("client-options.txt"):
            self.secrets |= _secrets(path.read_text())
        for text in self.said():
            assert "Traceback" not in text, text
            assert "internal error" not in text, text
            told = [secret for secret in self.secrets if secret in text]
            assert not told, f"secrets in the output: {told}\n{text}"


class Chain:
    """ss-local and ss-server with a tunnel between them.

    Attributes:
        server: ss-server.
        client: ss-local.
        port: the server's, the PT's own.
        socks_port: ss-local's.
        options: what the server said that clients must use.
    """

    def __init__(
        self,
        server: Program,
        client: Program,
        port: int,
        socks_port: int,
        options: str,
    ) -> None:
        """Take both ends, which are ready."""
        self.server = server
        self.client = client
        self.port = port
        self.socks_port = socks_port
        self.options = options

    def connect(self, target: Address) -> socket.socket:
        """Connect to a service through the chain."""
        return connect_through(self.socks_port, target)


class Pair:
    """``pt-bridge client`` and ``pt-bridge server`` with a tunnel between them.

    Attributes:
        server: ``pt-bridge server``.
        client: ``pt-bridge client``.
        local: where the client listens.
        remote: where the server listens, or its PT.
    """

    def __init__(
        self, server: Program, client: Program, local: Address, remote: Address
    ) -> None:
        """Take both ends, which are ready."""
        self.server = server
        self.client = client
        self.local = local
        self.remote = remote


def await_ss_server(server: Program) -> None:
    """Wait until ss-server itself accepts: it says so before it does."""
    line = server.wait_for("tcp server listening at ")
    host, _, port = line.rpartition(" ")[2].rpartition(":")
    connect((host.strip("[]"), int(port))).close()


def await_ss_local(client: Program) -> None:
    """Wait until ss-local and its plugin accept.

    ss-local may be there first, and does not try a plugin again that is not.
    """
    client.wait_for("listening at ")
    client.wait_for("ready: ")


def _combined(line: str, more: str | Callable[[str], str]) -> str:
    """Create a client's options of what the server says, and of what a test wants."""
    return line + more if isinstance(more, str) else more(line)


def _secrets(options: str) -> set[str]:
    return set(SECRETS.findall(options))
