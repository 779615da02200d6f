"""A private Tor network: three authorities, three relays and a bridge.

It is in a network namespace, in which an address of the United States' is ours, as
tor's GeoIP file has it: who calls that address comes from it. The network needs half a
minute to agree on itself, nearly all of it waiting; so it begins with the session, and
the tests that need it come last.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from integration.support.internet import Site
from integration.support.machine import Machine
from integration.support.programs import find, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from integration.support.programs import Program

TOR = "/usr/sbin/tor"
AMERICAN = "8.8.8.8"
LOOPBACK = "127.0.0.1"
OR_PORT, EXT_OR_PORT, CONTROL = 7130, 7131, "control"
LIMIT = 180.0  # seconds until the network is there, on a busy machine
FOR_ALL = """\
TestingTorNetwork 1
AssumeReachable 1
"""
COMMON = """\
DataDirectory {folder}
Nickname {name}
Log notice file {folder}/notice.log
ShutdownWaitLength 0
Address 127.0.0.1
ContactInfo none
SocksPort 0
"""
AUTHORITY = """\
TestingV3AuthInitialVotingInterval 20
TestingV3AuthInitialVoteDelay 4
TestingV3AuthInitialDistDelay 4
V3AuthVotingInterval 20
V3AuthVoteDelay 4
V3AuthDistDelay 4
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
ExitPolicy accept *:*
"""
RELAY = "ExitRelay 1\nExitPolicy accept 127.0.0.0/8:*\nExitPolicyRejectPrivate 0\n"
BRIDGE = f"""\
ORPort {LOOPBACK}:{OR_PORT}
ExtORPort {LOOPBACK}:{EXT_OR_PORT}
ControlPort unix:{{folder}}/{CONTROL}
CookieAuthentication 1
BridgeRelay 1
PublishServerDescriptor 0
GeoIPFile /usr/share/tor/geoip
GeoIPv6File /usr/share/tor/geoip6
"""
BOOTSTRAPPED = re.compile(r"Bootstrapped (\d+)%")


class TorNetwork:
    """A network that begins at once, and is there when `bridge` is asked for.

    Attributes:
        machine: where everything runs.
        fingerprint: the bridge's.
        defaults: a torrc with what each tor of this network must know.
    """

    def __init__(self, folder: Path) -> None:
        """Begin to start it, in an empty folder."""
        (folder / "hosts").write_text(f"{LOOPBACK} localhost\n")
        (folder / "resolv.conf").write_text("")
        self._site = Site(folder)
        self._site.set_up(f"addr add {AMERICAN}/32 dev lo", settings={})
        home = folder / "machine"
        home.mkdir()
        self.machine = Machine(home, self._site)
        self.fingerprint = ""
        self.defaults = self.machine.folder / "defaults"
        self._authorities = ""
        self._others: list[Program] = []
        self._error: BaseException | None = None
        self._bridge: Program
        self._thread = threading.Thread(target=self._start)
        self._thread.start()

    def _start(self) -> None:
        try:
            for number in range(3):
                self._make_authority(f"a{number}", 7100 + number, 7110 + number)
            # Once: a tor that starts must not find it while it is being written.
            self.defaults.write_text(FOR_ALL + self._authorities)
            for number in range(3):
                ports = f"ORPort {LOOPBACK}:{7100 + number}\n"
                ports += f"DirPort {LOOPBACK}:{7110 + number}\n"
                relay = f"ORPort {LOOPBACK}:{7120 + number}\n{RELAY}"
                self._others.append(self._tor(f"a{number}", AUTHORITY + ports))
                self._others.append(self._tor(f"r{number}", relay))
            self._bridge = self._tor("b0", BRIDGE.format(folder=self.folder("b0")))
            self._await("b0")
            words = (self.folder("b0") / "fingerprint").read_text().split()
            self.fingerprint = words[1]
        except BaseException as error:  # raised again where it is needed
            self._error = error

    def ready(self) -> TorNetwork:
        """Wait until it is there."""
        self._thread.join(LIMIT + 60)
        assert not self._thread.is_alive(), "the network is not there in time"
        if self._error is not None:
            raise self._error
        return self

    def folder(self, name: str) -> Path:
        """Return a tor's folder."""
        return self.machine.folder / name

    @property
    def cookie(self) -> Path:
        """The file with the cookie of the bridge's Extended ORPort."""
        return self.folder("b0") / "extended_orport_auth_cookie"

    @property
    def control(self) -> str:
        """The bridge's control port."""
        return str(self.folder("b0") / CONTROL)

    def restart_bridge(self) -> None:
        """End the bridge's tor, and start it again; it writes a new cookie."""
        before = self.cookie.read_bytes()
        self._bridge.stop()
        (self.folder("b0") / "notice.log").unlink()
        self._bridge = self._tor("b0", BRIDGE.format(folder=self.folder("b0")))
        self._await("b0")
        assert self.cookie.read_bytes() != before

    def client(self, name: str, line: str, plugin: str) -> None:
        """Start a tor that has one bridge, wait until it is at 100 %, and end it.

        Args:
            name: its name, which no other has.
            line: the bridge line, from ``Bridge``.
            plugin: what stands behind ClientTransportPlugin.
        """
        torrc = f"UseBridges 1\n{line}\nClientTransportPlugin {plugin}\n"
        tor = self._tor(name, torrc)
        self._await(name)
        tor.stop()

    def _tor(self, name: str, torrc: str) -> Program:
        folder = self.folder(name)
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / "torrc"
        path.write_text(COMMON.format(folder=folder, name=name) + torrc)
        return self.machine.start(
            TOR, "-f", str(path), "--defaults-torrc", str(self.defaults)
        )

    def _await(self, name: str) -> None:
        log = self.folder(name) / "notice.log"

        def is_done() -> bool:
            for each in self._others:
                assert each.runs, f"a tor has ended: {each.text}"
            text = log.read_text(errors="replace") if log.exists() else ""
            return "100" in BOOTSTRAPPED.findall(text)

        wait_until(is_done, f"{name} to be at 100 %", within=LIMIT, retry=0.2)

    def _make_authority(self, name: str, or_port: int, dir_port: int) -> None:
        """Create its keys, and name it to all others."""
        folder = self.folder(name)
        keys = folder / "keys"
        keys.mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)
        certificate = keys / "authority_certificate"
        made = self.machine.start(
            "sh",
            "-c",
            f"echo | {find('tor-gencert')} --create-identity-key --passphrase-fd 0 "
            f"-i {keys}/authority_identity_key -s {keys}/authority_signing_key "
            f"-c {certificate} -m 12 -a {LOOPBACK}:{dir_port}",
        )
        assert made.wait() == 0, made.text
        found = re.search(r"^fingerprint (\w+)", certificate.read_text(), re.MULTILINE)
        assert found is not None
        listed = self.machine.start(
            *(TOR, "--quiet", "--list-fingerprint", "--ignore-missing-torrc"),
            *("-f", "/dev/null"),
            *("--defaults-torrc", "/dev/null", "--orport", str(or_port)),
            *("--datadirectory", str(folder), "--nickname", name),
            *("--dirserver", f"x {LOOPBACK}:1 {'f' * 40}"),
        )
        assert listed.wait() == 0, listed.text
        fingerprint = (folder / "fingerprint").read_text().split()[1]
        self._authorities += (
            f"DirAuthority {name} orport={or_port} no-v2 v3ident={found[1]} "
            f"{LOOPBACK}:{dir_port} {fingerprint}\n"
        )

    def close(self) -> None:
        """End it."""
        self._thread.join(LIMIT + 60)
        try:
            # On a busy machine a relay was seen to stay for minutes after SIGTERM.
            self.machine.kill()
            self.machine.end()
        finally:
            self._site.close()
