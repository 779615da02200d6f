"""The catalogue of transports that pt-bridge knows.

It tells which programs offer a transport, and which arguments it needs and takes, so
that a mistake is found before anything starts. A transport that is not in it is passed
through untouched.
"""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEXADECIMAL = "0123456789abcdefABCDEF"
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
BASE64 = f"{BASE32}abcdefghijklmnopqrstuvwxyz0189+/"

LYREBIRD, OBFS4PROXY = "lyrebird", "obfs4proxy"

# How a tunnel is told from the others where its PT is held at both ends: a client's by
# the SOCKS target, or by the argument `addr`; a server's by the client's address.
BY_TARGET, BY_ADDR, BY_PEER = "target", "addr", "peer"


class Shape:
    """What the value of an argument looks like.

    Attributes:
        what: its description, for a sentence.
    """

    __slots__ = ("_characters", "_length", "what")

    def __init__(self, length: int, characters: str, what: str) -> None:
        self._length = length
        self._characters = frozenset(characters)
        self.what = what

    def fits(self, value: str) -> bool:
        """Tell whether a value looks like that."""
        return len(value) == self._length and self._characters.issuperset(value)


class Side:
    """One side, client or server, of a transport.

    Attributes:
        programs: the executables that offer it, the preferred one first.
        needs: sets of arguments, one of which must be there whole; () for none.
        takes: every argument that it knows, those of `needs` included.
        shapes: what the values of some of them look like.
        held: how a tunnel is told where both ends are held, or "" where they cannot be:
            it is not one TCP connection, or nothing tells which.
    """

    __slots__ = ("held", "needs", "programs", "shapes", "takes")

    def __init__(
        self,
        programs: Sequence[str],
        *,
        needs: Sequence[frozenset[str]] = (),
        takes: str = "",
        shapes: Mapping[str, Shape] = MappingProxyType({}),
        held: str = "",
    ) -> None:
        self.held = held
        self.shapes = shapes
        self.programs = tuple(programs)
        self.needs = tuple(needs)
        self.takes = frozenset(takes.split()).union(*needs)

    def missing(self, given: set[str]) -> list[str]:
        """Name the arguments that are still needed, for the set that is nearest."""
        lacking = [sorted(need - given) for need in self.needs]
        return min(lacking, key=len, default=[])


class Transport:
    """What pt-bridge knows of a transport.

    Attributes:
        client: its client side.
        server: its server side, or None where no program that we know has one.
    """

    __slots__ = ("client", "server")

    def __init__(self, client: Side, server: Side | None = None) -> None:
        self.client = client
        self.server = server


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


BOTH = (LYREBIRD, OBFS4PROXY)

OBFS4_SHAPES = {
    "cert": Shape(70, BASE64, "70 characters of base64"),
    "iat-mode": Shape(1, "012", "0, 1 or 2"),
    "node-id": Shape(40, HEXADECIMAL, "40 hexadecimal digits"),
    "public-key": Shape(64, HEXADECIMAL, "64 hexadecimal digits"),
    "private-key": Shape(64, HEXADECIMAL, "64 hexadecimal digits"),
    "drbg-seed": Shape(48, HEXADECIMAL, "48 hexadecimal digits"),
}

TRANSPORTS = {
    "obfs2": Transport(
        Side(BOTH, takes="shared-secret", held=BY_TARGET), Side(BOTH, held=BY_PEER)
    ),
    "obfs3": Transport(Side(BOTH, held=BY_TARGET), Side(BOTH, held=BY_PEER)),
    "obfs4": Transport(
        Side(
            BOTH,
            needs=[
                _set("cert", "iat-mode"),
                _set("node-id", "public-key", "iat-mode"),
            ],
            shapes=OBFS4_SHAPES,
            held=BY_TARGET,
        ),
        Side(
            BOTH,
            takes="iat-mode node-id private-key drbg-seed",
            shapes=OBFS4_SHAPES,
            held=BY_PEER,
        ),
    ),
    "scramblesuit": Transport(
        Side(
            BOTH,
            needs=[_set("password")],
            shapes={"password": Shape(32, BASE32, "32 characters of base32")},
            held=BY_TARGET,
        )
    ),
    "meek": Transport(
        Side(("meek-client",), needs=[_set("url")], takes="front utls"),
    ),
    "meek_lite": Transport(
        Side(BOTH, needs=[_set("url")], takes="front fronts utls disableHPKP"),
    ),
    "snowflake": Transport(
        # One connection without url or ice ends the whole PT (conformance PF-6).
        Side(
            ("snowflake-client", LYREBIRD),
            needs=[_set("url", "ice")],
            takes="fronts front max ampcache sqsqueue sqscreds fingerprint proxy "
            "utls-imitate utls-nosni covertdtls-config covertdtls-fingerprint",
        ),
    ),
    "webtunnel": Transport(
        Side(
            (LYREBIRD, "webtunnel-client"),
            needs=[_set("url")],
            takes="addr servername utls sni-imitation ver",
            held=BY_ADDR,
        ),
        Side(("webtunnel-server",), needs=[_set("url")]),
    ),
    "conjure": Transport(
        Side(
            ("conjure-client",),
            takes="registrar ampcache url fronts front utls-nosni utls-imitate "
            "transport stun",
        ),
    ),
}

# Their PTs copy a connection to one of their own: once such a PT reads an EOF, all that
# came before it is with the kernel, and arrives although the PT closes. The others put
# it into a session, which may end before it has carried all.
COPYING = frozenset({"obfs2", "obfs3", "obfs4", "scramblesuit", "webtunnel"})

# Asked for a transport that we do not know; and all that `exec=` may name of itself.
PROGRAMS_FOR_UNKNOWN = BOTH
PROGRAMS = frozenset(
    program
    for transport in TRANSPORTS.values()
    for side in (transport.client, transport.server)
    if side is not None
    for program in side.programs
)


def side_of(transport: str, *, server: bool) -> Side | None:
    """Give one side of a transport; None where it has no such side.

    For a transport that is not in the catalogue, give one without `needs` or `takes`.
    """
    known = TRANSPORTS.get(transport)
    if known is None:
        return Side(PROGRAMS_FOR_UNKNOWN)
    return known.server if server else known.client
