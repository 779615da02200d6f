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


class Shape:
    """What the value of an argument looks like.

    Attributes:
        what: its description, for a sentence.
        is_sure: whether every PT refuses any other.
    """

    __slots__ = ("_characters", "_length", "is_sure", "what")

    def __init__(
        self, length: int, characters: str, what: str, *, is_sure: bool = False
    ) -> None:
        self.is_sure = is_sure
        self._length = length
        self._characters = frozenset(characters)
        self.what = what

    def fits(self, value: str) -> bool:
        """Return whether a value looks like that."""
        return len(value) == self._length and self._characters.issuperset(value)


class Side:
    """One side, client or server, of a transport.

    Attributes:
        programs: the executables that offer it, the preferred one first.
        needs: sets of arguments, one of which must be there whole; () for none.
        enough: the arguments any one of which shows that a set is meant: what else of
            it is missing, some PTs do without.
        flags: whether programs take the arguments on their command line, too.
        takes: every argument that it knows, those of `needs` included.
        shapes: what the values of some of them look like.
        cautions: what there is to know of a value that programs take.
    """

    __slots__ = (
        "cautions",
        "enough",
        "flags",
        "needs",
        "programs",
        "shapes",
        "takes",
    )

    def __init__(
        self,
        programs: Sequence[str],
        *,
        needs: Sequence[frozenset[str]] = (),
        enough: str = "",
        flags: bool = False,
        takes: str = "",
        shapes: Mapping[str, Shape] = MappingProxyType({}),
        cautions: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        self.shapes = shapes
        self.cautions = cautions
        self.programs = tuple(programs)
        self.needs = tuple(needs)
        self.enough = frozenset(enough.split())
        self.flags = flags
        self.takes = frozenset(takes.split()).union(*needs)

    def is_enough(self, given: set[str]) -> bool:
        """Whether some program of them may do with the arguments that are given."""
        return not self.enough.isdisjoint(given)

    def missing(self, given: set[str]) -> list[str]:
        """Name the arguments that are still needed, for the set that is nearest."""
        nearest = min(
            self.needs,
            key=lambda need: (-len(need & given), len(need - given)),
            default=frozenset[str](),
        )
        if any(need <= given for need in self.needs):
            return []
        return sorted(nearest - given)


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
    "cert": Shape(70, BASE64, "70 characters of base64", is_sure=True),
    "iat-mode": Shape(1, "012", "0, 1 or 2"),
    "node-id": Shape(40, HEXADECIMAL, "40 hexadecimal digits"),
    "public-key": Shape(64, HEXADECIMAL, "64 hexadecimal digits"),
    "private-key": Shape(64, HEXADECIMAL, "64 hexadecimal digits"),
    "drbg-seed": Shape(48, HEXADECIMAL, "48 hexadecimal digits"),
}

# Both programs (obfs4proxy 0.0.14, lyrebird 0.8.1) draw the length of each packet from
# a table that they make of the server's key, and exit where that is 0. About one key in
# 30 makes a table with a 0; and a client's first bytes have a table of their own.
OBFS4_CAUTIONS = {
    ("iat-mode", "2"): "with iat-mode=2 obfs4proxy and lyrebird crash now and then, "
    "which cuts every connection: use iat-mode=1, or 0; each side may have its own"
}

TRANSPORTS = {
    "obfs2": Transport(Side(BOTH, takes="shared-secret"), Side(BOTH)),
    "obfs3": Transport(Side(BOTH), Side(BOTH)),
    "obfs4": Transport(
        Side(
            BOTH,
            needs=[
                _set("cert", "iat-mode"),
                _set("node-id", "public-key", "iat-mode"),
            ],
            shapes=OBFS4_SHAPES,
            cautions=OBFS4_CAUTIONS,
        ),
        Side(
            BOTH,
            takes="iat-mode node-id private-key drbg-seed",
            shapes=OBFS4_SHAPES,
            cautions=OBFS4_CAUTIONS,
        ),
    ),
    "scramblesuit": Transport(
        Side(
            BOTH,
            needs=[_set("password")],
            shapes={
                "password": Shape(32, BASE32, "32 characters of base32", is_sure=True)
            },
        )
    ),
    "meek": Transport(
        Side(("meek-client",), needs=[_set("url")], takes="front utls", flags=True),
    ),
    "meek_lite": Transport(
        Side(BOTH, needs=[_set("url")], takes="front fronts utls disableHPKP"),
    ),
    "snowflake": Transport(
        # One connection without ice ends the whole snowflake-client, and without url
        # or sqsqueue the whole of lyrebird; each does without the other (seen).
        Side(
            ("snowflake-client", LYREBIRD),
            needs=[
                _set("url", "ice"),
                _set("sqsqueue", "sqscreds", "ice"),
                _set("ampcache", "url", "ice"),
            ],
            enough="url sqsqueue ampcache",
            flags=True,
            takes="fronts front max ampcache sqsqueue sqscreds fingerprint proxy "
            "utls-imitate utls-nosni covertdtls-config covertdtls-fingerprint",
        ),
    ),
    "webtunnel": Transport(
        Side(
            (LYREBIRD, "webtunnel-client"),
            needs=[_set("url")],
            takes="addr servername utls sni-imitation ver",
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

# Their PTs connect to the address that they are told; others have it in an argument.
DIALLING = frozenset({"obfs2", "obfs3", "obfs4", "scramblesuit"})

# Their PT servers name the TCP peer as the client (USERADDR); webtunnel's believes what
# the web server before it says.
NAMING_CLIENTS = frozenset({"obfs2", "obfs3", "obfs4"})

# PT servers that close their port at SIGINT and let connections go on; obfs4proxy ends
# with the last of them.
CLOSING_ON_INTERRUPT = frozenset({"obfs4proxy", "lyrebird"})

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
    """Return one side of a transport; None where it has no such side.

    For a transport that is not in the catalogue, give one without `needs` or `takes`.
    """
    known = TRANSPORTS.get(transport)
    if known is None:
        return Side(PROGRAMS_FOR_UNKNOWN)
    return known.server if server else known.client


def goes_by_url(transport: str) -> bool:
    """Return whether a client's PT goes where its arguments say, not where we say."""
    side = side_of(transport, server=False)
    return side is not None and "url" in side.takes
