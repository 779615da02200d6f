"""The catalogue of transports that pt-bridge knows.

It tells which programs offer a transport, and which arguments it needs and takes, so
that a mistake is found before anything starts. A transport that is not in it is passed
through untouched.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LYREBIRD, OBFS4PROXY = "lyrebird", "obfs4proxy"


class Side:
    """One side, client or server, of a transport.

    Attributes:
        programs: the executables that offer it, the preferred one first.
        needs: sets of arguments, one of which must be there whole; () for none.
        takes: every argument that it knows, those of `needs` included.
    """

    __slots__ = ("needs", "programs", "takes")

    def __init__(
        self,
        programs: Sequence[str],
        *,
        needs: Sequence[frozenset[str]] = (),
        takes: str = "",
    ) -> None:
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
        ),
        Side(BOTH, takes="iat-mode node-id private-key drbg-seed"),
    ),
    "scramblesuit": Transport(Side(BOTH, needs=[_set("password")])),
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

# Asked for a transport that we do not know, and the only programs `exec=` may name.
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
