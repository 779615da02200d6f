"""What a tunnel makes of every way to end it, through real PTs (issue 5; design 3)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import http.client
import itertools
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from chaos.stage import pt as pt_below
from integration import closing
from integration.closing import Case
from integration.endpoints import digest, free_port
from integration.ends import Line, Remains, Wrong
from integration.machine import Machine
from integration.programs import DEADLINE, find
from integration.web import Web

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from _pytest.mark import ParameterSet

    from integration.machine import Chain

LYREBIRD, OBFS4PROXY = "lyrebird", "obfs4proxy"
PTS = (OBFS4PROXY, LYREBIRD)
SIZES = (1, 1_000, 10_000_000)
# More than the buffers of a leg on loopback take at first.
SIZE = 200_000
TUNNELS = 200
# What never comes is waited for so long where it is known not to come (seconds).
PATIENCE = 3.0
BODIES = (0, 1, 100_019, 10_000_000)
CONNECTIONS = 100
PAGES = (1_000, 30_000, 0)  # one after the other where a connection is kept alive


class Lines:
    """Lines that stay up for all tests of the module, each from its first use on."""

    def __init__(self, machine: Machine) -> None:
        """Have none yet.

        Args:
            machine: where.
        """
        self._machine = machine
        self._runner = asyncio.Runner()
        self._lines: dict[tuple[str, str], Line] = {}

    def obfs4(self, client: str, server: str) -> Line:
        """Give the line between a client and a server with these options."""
        key = (client, server)
        if key not in self._lines:
            self._lines[key] = Line(
                self._machine,
                client_options=f";{client}",
                server_options=f"transport=obfs4;{server}",
            )
        return self._lines[key]

    def webtunnel(self) -> Line:
        """Give the line between a lyrebird that is held and its server."""
        key = ("webtunnel", "webtunnel")
        if key not in self._lines:
            self._machine.secrets.add("a-secret-path")
            remote = ("127.0.0.1", free_port())
            url = f"http://{remote[0]}:{remote[1]}/a-secret-path"
            self._lines[key] = Line(
                self._machine,
                client_options=";exec=lyrebird;hold=both",
                server_options=f"transport=webtunnel;url={url};hold=plain",
                remote=remote,
            )
        return self._lines[key]

    def run(
        self, what: Coroutine[object, object, None], deadline: float = DEADLINE
    ) -> None:
        """Do something within a deadline (seconds)."""
        self._runner.run(within(deadline, what))

    def close(self) -> None:
        """Take no connection any more."""
        self._runner.close()
        for line in self._lines.values():
            line.close()


async def within(seconds: float, what: Coroutine[object, object, None]) -> None:
    """Give up what takes longer; of what went wrong, raise the first."""
    try:
        async with asyncio.timeout(seconds):
            await what
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    """Give lines that stay up."""
    machine = Machine(tmp_path_factory.mktemp("closing"))
    lines = Lines(machine)
    try:
        yield lines
    finally:
        lines.close()
        machine.close()


@pytest.fixture
def web() -> Iterator[Web]:
    """Give a web server."""
    web = Web()
    yield web
    web.close()


def _name(value: object) -> str | None:
    name = getattr(value, "__name__", None)
    return name and name.replace("_", " ")


def _held(pt: str) -> str:
    return f"exec={pt};hold=both"


@pytest.mark.parametrize("case", closing.CASES, ids=_name)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pt", PTS)
def test_all_arrives_and_then_the_end_when(
    lines: Lines, pt: str, size: int, case: Case
) -> None:
    """Issue 5, item 4: the same PT at both ends, and every size."""
    lines.run(case(lines.obfs4(_held(pt), _held(pt)), size))


@pytest.mark.parametrize("case", closing.CASES, ids=_name)
@pytest.mark.parametrize("server_pt", PTS)
@pytest.mark.parametrize("client_pt", PTS)
def test_all_arrives_and_then_the_end_whatever_the_pts_when(
    lines: Lines, client_pt: str, server_pt: str, case: Case
) -> None:
    """Issue 5, item 4: one size, and another one than above."""
    lines.run(case(lines.obfs4(_held(client_pt), _held(server_pt)), SIZE))


@pytest.mark.parametrize("server_pt", PTS)
@pytest.mark.parametrize("client_pt", PTS)
def test_200_tunnels_leave_no_socket(
    lines: Lines, client_pt: str, server_pt: str
) -> None:
    """Issue 5, item 4: closed in all the ways, many at once; in the PTs too."""
    line = lines.obfs4(_held(client_pt), _held(server_pt))

    lines.run(_close_in_all_ways(line, closing.CASES))
    line.remains.vanish()


async def _close_in_all_ways(line: Line, cases: Sequence[Case]) -> None:
    """Open and close `TUNNELS` or more, those of each round at once."""
    sizes = itertools.cycle((*SIZES[:2], SIZE))
    for number in range(TUNNELS // len(cases) + 1):
        async with asyncio.TaskGroup() as group:
            for case in cases:
                # It takes its time: nobody dials at once for a client that is silent.
                if case is not closing.the_server_speaks_first_and_closes or not number:
                    group.create_task(case(line, next(sizes)))


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("pt", PTS)
def test_a_tunnel_ends_with_a_reset_at_both_ends_when_a_pt_dies(
    machine: Machine, pt: str, side: str
) -> None:
    """Issue 5, item 4; RL-11: and the next tunnel finds the PT's successor."""
    line = Line(
        machine,
        client_options=f";{_held(pt)}",
        server_options=f"transport=obfs4;{_held(pt)}",
    )
    process = pt_below(line.client if side == "client" else line.server)

    async def cut() -> None:
        async with line.tunnel() as idle, line.tunnel() as half, line.tunnel() as busy:
            half.client.half_close()
            await half.server.receive_end()
            async with asyncio.TaskGroup() as group:
                group.create_task(busy.server.send_until_refused())
                await busy.client.receive(SIZE)
                process.kill()
                for end in (idle.client, idle.server, half.client, busy.client):
                    group.create_task(end.receive_reset())
                group.create_task(half.server.send_until_refused())
        await line.others_work()

    try:
        asyncio.run(within(DEADLINE, cut()))
    finally:
        line.close()


def test_a_client_of_obfs4_holds_both_ends_by_default(lines: Lines) -> None:
    """Design 3: lyrebird itself tells it of no end."""
    line = lines.obfs4(f"exec={LYREBIRD}", _held(LYREBIRD))
    lines.run(closing.the_server_answers_and_closes(line, SIZE))


def test_a_server_of_obfs4_holds_both_ends_by_default(lines: Lines) -> None:
    """Design 3: lyrebird itself tells it of no end."""
    line = lines.obfs4(_held(LYREBIRD), f"exec={LYREBIRD}")
    lines.run(closing.the_client_sends_and_closes(line, SIZE))


# How a client and a server hold their PTs where only one of the two holds both ends.
MIXED = (("both", "plain"), ("both", "none"), ("plain", "both"))
MIXED_CASES = (
    closing.the_server_answers_and_closes,
    closing.the_server_half_closes,
    closing.the_client_half_closes,
    closing.the_client_sends_and_closes,
    closing.the_client_resets,
    closing.the_server_resets,
)
KEPT_BACK = "lyrebird, where it is not held, passes no end on (RL-07)"
KEPT_FOR_THE_ANSWER = "hold=plain keeps an end back while its host is alive (RL-04)"
TAKEN_FOR_ALL = "obfs4proxy, where it is not held, takes the first end for both (RL-03)"
NO_RESET = "a PT that is not held makes an end of a reset"
_RESETS = {
    closing.the_client_resets: NO_RESET,
    closing.the_server_resets: NO_RESET,
}
# What then goes wrong over obfs4proxy. Over lyrebird nothing ever ends: two show it.
LYREBIRD_CASES = (
    closing.the_server_answers_and_closes,
    closing.the_client_sends_and_closes,
)
WRONG: dict[tuple[str, str], dict[Case, str]] = {
    ("both", "plain"): {
        closing.the_server_half_closes: KEPT_FOR_THE_ANSWER,
        closing.the_client_half_closes: TAKEN_FOR_ALL,
        **_RESETS,
    },
    ("both", "none"): {
        closing.the_server_half_closes: TAKEN_FOR_ALL,
        closing.the_client_half_closes: TAKEN_FOR_ALL,
        **_RESETS,
    },
    ("plain", "both"): {
        closing.the_server_half_closes: TAKEN_FOR_ALL,
        closing.the_client_half_closes: KEPT_FOR_THE_ANSWER,
        **_RESETS,
    },
}


class Mixed(NamedTuple):
    """A way to close where only one of two holds both ends.

    Attributes:
        client: how the client holds its PT.
        server: how the server holds its own.
        pt: which PT both have.
        case: how the tunnel ends.
    """

    client: str
    server: str
    pt: str
    case: Case

    @property
    def wrong(self) -> str | None:
        """Why it cannot be right."""
        if self.pt == LYREBIRD:
            return KEPT_BACK
        return WRONG[self.client, self.server].get(self.case)

    def __str__(self) -> str:
        return (
            f"{self.pt}, client {self.client}, server {self.server}, {_name(self.case)}"
        )


ALL_MIXED = [
    Mixed(client, server, pt, case)
    for client, server in MIXED
    for pt, cases in ((OBFS4PROXY, MIXED_CASES), (LYREBIRD, LYREBIRD_CASES))
    for case in cases
]


def _expected(what: object, reason: str | None) -> ParameterSet:
    if reason is None:
        return pytest.param(what)
    wrong = pytest.mark.xfail(reason=reason, raises=(TimeoutError, Wrong), strict=True)
    return pytest.param(what, marks=wrong)


@pytest.fixture(scope="module")
def mixed_outcomes(lines: Lines) -> dict[Mixed, Exception]:
    """Try all at once, and tell what went wrong: mostly, nothing comes."""
    found: dict[Mixed, Exception] = {}

    async def attempt(mixed: Mixed, line: Line) -> None:
        try:
            await within(PATIENCE if mixed.wrong else DEADLINE, mixed.case(line, SIZE))
        except (TimeoutError, Wrong) as error:
            found[mixed] = error

    async def attempt_all() -> None:
        async with asyncio.TaskGroup() as group:
            for mixed in ALL_MIXED:
                client, server = (f"exec={mixed.pt};hold={hold}" for hold in mixed[:2])
                group.create_task(attempt(mixed, lines.obfs4(client, server)))

    lines.run(attempt_all(), 2 * DEADLINE)
    return found


@pytest.mark.parametrize(
    "mixed", [_expected(mixed, mixed.wrong) for mixed in ALL_MIXED], ids=str
)
def test_where_only_one_side_holds_both_ends_all_is_right_over(
    mixed_outcomes: dict[Mixed, Exception], mixed: Mixed
) -> None:
    """Issue 5, item 4: what goes wrong is expected, and named."""
    if mixed in mixed_outcomes:
        raise mixed_outcomes[mixed]


# The client speaks first in all of these: lyrebird's webtunnel loses what it reads
# together with the end of the server's handshake, however it is held.
WEBTUNNEL_CASES: dict[Case, str | None] = {
    closing.the_server_answers_and_closes: None,
    closing.the_server_half_closes: KEPT_FOR_THE_ANSWER,
    closing.the_client_half_closes: (
        "webtunnel-server takes the first end for both (RL-03)"
    ),
    closing.the_client_sends_and_closes: None,
    closing.the_client_closes_after_the_answer: None,
    closing.the_server_closes_while_the_client_sends: None,
    closing.the_server_closes_on_a_slow_client: None,
    closing.the_client_closes_on_a_slow_server: None,
    closing.the_client_resets: NO_RESET,
    closing.the_server_resets: NO_RESET,
}


@pytest.mark.parametrize(
    "case", [_expected(*each) for each in WEBTUNNEL_CASES.items()], ids=_name
)
def test_webtunnel_that_is_held_at_the_client_is_right_when(
    lines: Lines, case: Case
) -> None:
    """Issue 5, item 6: webtunnel-server cannot be held at both ends."""
    line = lines.webtunnel()
    for size in SIZES:
        is_wrong = WEBTUNNEL_CASES[case] is not None
        lines.run(case(line, size), PATIENCE if is_wrong else DEADLINE)


def test_200_tunnels_through_webtunnel_leave_no_socket(lines: Lines) -> None:
    """Issue 5, item 6."""
    line = lines.webtunnel()
    cases = [case for case, wrong in WEBTUNNEL_CASES.items() if wrong is None]
    lines.run(_close_in_all_ways(line, cases))
    line.remains.vanish()


@pytest.mark.parametrize("pt", PTS)
def test_curl_gets_every_byte_of_a_body_that_ends_by_closing(
    machine: Machine, web: Web, pt: str
) -> None:
    """Issue 5, item 5: HTTP/1.0 through ss-local and ss-server."""
    chain = _chain(machine, pt)
    for size in BODIES:
        done = subprocess.run(
            [
                *(find("curl"), "--http1.0", "--silent", "--show-error", "--fail"),
                *("--max-time", str(DEADLINE), "--noproxy", ""),
                *("--socks5-hostname", f"127.0.0.1:{chain.socks_port}"),
                f"http://127.0.0.1:{web.address[1]}/{size}",
            ],
            capture_output=True,
            timeout=2 * DEADLINE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert len(done.stdout) == size
        assert hashlib.sha256(done.stdout).hexdigest() == digest(size)


@pytest.mark.parametrize("pt", PTS)
def test_what_a_browser_does_leaves_no_socket(
    machine: Machine, web: Web, pt: str
) -> None:
    """Issue 5, item 5: connections that are kept alive, ended, and broken off."""
    chain = _chain(machine, pt)
    remains = Remains(chain.client, chain.server)
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        done = [
            pool.submit(_BROWSING[number % len(_BROWSING)], chain, web)
            for number in range(CONNECTIONS)
        ]
        for each in done:
            each.result()
    remains.vanish()


def _chain(machine: Machine, pt: str) -> Chain:
    return machine.chain(
        server_options=f"server;transport=obfs4;{_held(pt)}",
        client_options=f";{_held(pt)}",
        variables=machine.with_lyrebird(),
    )


def _connection(chain: Chain, web: Web) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(*web.address)
    connection.auto_open = 0  # never around the tunnel
    connection.sock = chain.connect(web.address)
    return connection


def _keep_alive(chain: Chain, web: Web) -> None:
    connection = _connection(chain, web)
    try:
        for size in PAGES:
            connection.request("GET", f"/{size}")
            body = connection.getresponse().read()
            assert hashlib.sha256(body).hexdigest() == digest(size)
    finally:
        connection.close()


def _get_once(chain: Chain, web: Web) -> None:
    connection = _connection(chain, web)
    try:
        connection.request("GET", f"/{SIZE}", headers={"Connection": "close"})
        with connection.getresponse() as response:
            body = response.read()
        assert hashlib.sha256(body).hexdigest() == digest(SIZE)
    finally:
        connection.close()


def _break_off(chain: Chain, web: Web) -> None:
    connection = _connection(chain, web)
    try:
        connection.request("GET", f"/{SIZES[-1]}", headers={"Connection": "close"})
        with connection.getresponse() as response:
            assert response.read(SIZE)
    finally:
        connection.close()


_BROWSING = (_keep_alive, _keep_alive, _get_once, _break_off)
