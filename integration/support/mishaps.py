"""What goes wrong with a pt-bridge: the list of it, and what its scenes have in common.

Each is a function that plays a scene: it starts what is needed, and comes back when
everything was said that there is to say of it. It does not judge what was said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from integration.support.internet import (
    CLIENT,
    CLIENT_6,
    IDN_NAME,
    IDN_UNICODE,
    NO_NAME,
    PROXY_NAME,
    SERVER,
    SERVER_6,
    SERVER_NAME,
)
from pt_bridge.options.own_options import CLIENT as CLIENT_ROLE
from pt_bridge.options.own_options import SERVER as SERVER_ROLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.support.scene import Scene

    Play = Callable[[Scene], None]

# The options that a role has been given beside those of the scene.
SETTINGS: dict[str, Sequence[str]] = {
    CLIENT_ROLE: ("", "session=0"),
    SERVER_ROLE: ("", "front=yes", "session=only"),
    "": ("",),
}
# Where it makes no difference, what one gets without asking.
USUAL = ("",)
OBFS4PROXY, LYREBIRD = "obfs4proxy", "lyrebird"
# What ends those PTs that never get ready, and say why; on a busy machine they may need
# some seconds to say so.
START_TIMEOUT = 10
OBFS3 = f"transport=obfs3;exec={OBFS4PROXY}"

# Values that nobody says by chance.
USER, PROXY_PASSWORD = "uSeRqX4711zK", "p@sS:w/0rd=Qx7&vK3"
PATH = "/sEcReTpAtHqX/0815vKz"
WORD = "hUnTeR7qXvKzW2"
BASE32_WORD = "BXWFRTGKDHMP2345NCSUBXWFRTGKDHMP"
CERT = "QxVkZwJyPl+Mn/" * 5
HEXADECIMAL, NODE_ID, SEED = "9f3b7a1d5c8e6240" * 4, "73e0d9b2" * 5, "e5a8f6c1" * 6
KNOWN = [USER, PROXY_PASSWORD, PATH, WORD, BASE32_WORD, CERT]
KNOWN += [HEXADECIMAL, NODE_ID, SEED]


class Mishap:
    """Something that goes wrong.

    Attributes:
        name: what it is called.
        play: plays it.
        role: whose settings matter, or "".
        settings: those which it goes wrong with.
        hosts: whether it happens under shadowsocks.
        tells: whether addresses are in what is said of it, with ``unsafe-logging``.
    """

    def __init__(
        self,
        play: Play,
        role: str,
        settings: Sequence[str],
        *,
        hosts: bool,
        tells: bool,
    ) -> None:
        """Create one."""
        self.name = play.__name__
        self.play = play
        self.role = role
        self.settings = settings
        self.hosts = hosts
        self.tells = tells


MISHAPS: list[Mishap] = []


def mishap(
    role: str = "",
    *,
    settings: Sequence[str] = (),
    hosts: bool = False,
    tells: bool = False,
) -> Callable[[Play], Play]:
    """Create a function a mishap, under each setting that the role has, or these."""

    def register(play: Play) -> Play:
        which = settings or SETTINGS[role]
        MISHAPS.append(Mishap(play, role, which, hosts=hosts, tells=tells))
        return play

    return register


def proxy(port: int, scheme: str = "socks5", host: str = PROXY_NAME) -> str:
    """Return the option for the user's proxy."""
    password = quote(PROXY_PASSWORD, safe="")
    return f"upstream-proxy={scheme}://{USER}:{password}@{host}:{port}"


ADDRESSES = (
    SERVER,
    CLIENT,
    SERVER_6,
    SERVER_6.upper(),
    "2001:0db8:0113:0000:0000:0000:0000:0020",
    "2001:DB8:51:0:0:0:0:10",
    f"::ffff:{CLIENT}",
    "::FFFF:CB00:7114",
    f"[{CLIENT_6}]:4711",
    f"{SERVER_6}%wire",
    f"[{SERVER_6}%25wire]:443",
    f"{SERVER}:443",
    f"({SERVER})",
)
HOST_NAMES = (
    SERVER_NAME,
    SERVER_NAME.upper(),
    f"{SERVER_NAME}.",
    f"www.{SERVER_NAME}:443",
    IDN_NAME,
    IDN_UNICODE,
)


def filth() -> list[str]:
    """Return what a PT might write, with all that it must not be seen to write.

    The secrets of the client's options are in it (`CERT`, `WORD`, `PATH`), and the
    names of SS_REMOTE_HOST and its aliases.
    """
    addresses = [
        form.format(each)
        for each in ADDRESSES
        for form in (
            "dial tcp {}: connect: connection refused",
            '"\\x00{}"',
            "read tcp 127.0.0.1:1->{}: EOF.",
        )
    ]
    names = [
        form.format(each)
        for each in HOST_NAMES
        for form in (
            "lookup {} on 127.0.0.53:53: no such host",
            '"\\t{}\\n"',
            "https://{}/",
        )
    ]
    told_secrets = [
        form.format(each)
        for each in (CERT, WORD, PATH, quote(PATH, safe=""))
        for form in (
            "cert={}",
            "bad {}.",
            '{{"password": "{}"}}',
            "map[url:[{}]]",
            "https://127.0.0.1:80{}?x=y",
        )
    ]
    never_seen = [
        f"node-id={NODE_ID},public-key={HEXADECIMAL}",
        f'{{"private-key":"{HEXADECIMAL}","drbg-seed":"{SEED}"}}',
        f"the seed is {SEED}",
        f"PRIVATE-KEY={HEXADECIMAL.upper()}",
        f"obfs4:private-key={HEXADECIMAL};obfs4:node-id={NODE_ID}",
        f"shared-secret={WORD}1 sqscreds='{WORD}2' Password={BASE32_WORD}",
        "lookup stork.example: no such host",
        f"Get https://stork.example:8443{PATH}x: EOF",
        "x509: certificate is valid for stork.example, *.stork.example, not x",
        'x509: certificate signed by unknown authority ("stork.example CA")',
        f"socks5://{USER}:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:1080",
        f"dial tcp: lookup {NO_NAME}: i/o timeout",
    ]
    return [*addresses, *names, *told_secrets, *never_seen]
