"""A client's chain, each of its links broken in turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.client_examination import ClientExamination
from pt_bridge.config import Config, variables_from_flags
from pt_bridge.connection import NO_LINGER
from pt_bridge.diagnosis import Verdict
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.profile import Profile
from tests import proxies
from tests.fake_pt import HELLO
from tests.processes import CLIENT, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pt_bridge.diagnosis import Step
    from tests.processes import Bench

OPTIONS = f"transport=obfs4;cert={SECRET};iat-mode=0"
SHAKES = ("say VERSION 1", "client socks5 shake", "say CMETHODS DONE")
STAY = 0.2  # seconds; what a test wants to see ends it before, or never
LIMIT = 20.0
THROUGH = Address("web.example", 80)
# More than a silent server needs to be given up, and less than the fake PT's patience.
SHORT = 4.0


def config(options: str, remote: str) -> Config:
    variables = variables_from_flags(
        local="127.0.0.1:1080", remote=remote, plugin_options=options
    )
    return Config(variables, plugin=False)


async def examined(
    bench: Bench,
    remote: str,
    options: str = OPTIONS,
    *,
    limit: float = LIMIT,
    stay: float = STAY,
    profile: Profile | None = None,
    **more: Any,
) -> list[Step]:
    """Walk the chain; see that nothing is left."""
    examination = ClientExamination(
        config(options, remote),
        {key.encode(): os.fsencode(value) for key, value in bench.variables.items()},
        deadline=asyncio.get_running_loop().time() + limit,
        profile=profile or Profile(),
        stay=stay,
        **more,
    )
    async with examination:
        steps = [step async for step in examination.steps()]
    assert bench.pt.is_gone()
    assert not list((bench.folder / "tmp").iterdir())
    return steps


def broken(steps: list[Step], link: str, code: int) -> Step:
    """See that the chain is broken at one link, and that this is the last step."""
    *before, last = steps
    assert (last.link, last.exit_code) == (link, code), last
    assert last.has_failed
    assert not any(step.has_failed for step in before)
    return last


@contextlib.asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[str]:
    """Be the server; give its place."""
    open_ones: list[asyncio.StreamWriter] = []

    async def handled(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        open_ones.append(writer)
        # A look at the server alone says nothing.
        hello = await reader.read(len(HELLO))
        if hello:
            await handle(reader, writer)

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            for writer in open_ones:
                writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection as a censor does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()


async def echo(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO)


async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def say_something_else(
    _: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def stay_silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    pass


# -- all well --------------------------------------------------------------------------


@pytest.mark.parametrize("hold", ["both", "plain"])
async def test_a_chain_that_holds_is_walked_to_its_end(bench: Bench, hold: str) -> None:
    """Issue 6, item 1."""
    bench.pt.play(*SHAKES)
    async with serving(echo) as place:
        steps = await examined(bench, place, f"{OPTIONS};hold={hold}")
    links = ["program", "state", "start", "server", "handshake", "connection", "answer"]
    assert [step.link for step in steps] == links
    assert {step.verdict for step in steps[:-1]} == {Verdict.OK}
    assert steps[-1].verdict is Verdict.SKIPPED
    texts = [step.text for step in steps]
    assert texts[0] == f"{bench.pt.path}, obfs4proxy-0.0.1"
    assert f"hold={hold}" in texts[2]
    assert place in texts[3]


async def test_the_version_that_a_pt_tells_is_told(bench: Bench) -> None:
    bench.pt.play(
        'say STATUS TYPE=version IMPLEMENTATION="its-name" VERSION="1.2.3"', *SHAKES
    )
    async with serving(echo) as place:
        steps = await examined(bench, place)
    assert "its-name 1.2.3 offers obfs4" in steps[2].text


async def test_a_service_that_speaks_first_is_a_sign_of_life(bench: Bench) -> None:
    bench.pt.play(*SHAKES)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO + b"220 ready\r\n")

    async with serving(greet) as place:
        steps = await examined(bench, place, stay=LIMIT / 2)
    assert steps[-2].verdict is Verdict.OK


# -- this machine ----------------------------------------------------------------------


async def test_a_program_that_is_missing_breaks_the_chain(bench: Bench) -> None:
    bench.pt.path.unlink()
    steps = await examined(bench, "127.0.0.1:9", f"{OPTIONS};exec=meek-client")
    assert "no PT program was found" in broken(steps, "program", 71).text


async def test_a_path_that_links_may_not_name_breaks_the_chain(bench: Bench) -> None:
    steps = await examined(bench, "127.0.0.1:9", f"{OPTIONS};exec=/bin/sh")
    assert "exec=" in broken(steps, "program", 65).text


async def test_a_folder_that_cannot_be_made_breaks_the_chain(bench: Bench) -> None:
    (bench.folder / "state/pt-bridge").write_text("")
    steps = await examined(bench, "127.0.0.1:9", f"{OPTIONS};state=x")
    assert "pt-bridge" in broken(steps, "state", 73).text


async def test_a_folder_that_is_asked_for_is_not_made(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    await examined(bench, "127.0.0.1:9", f"{OPTIONS};state=x")
    assert not list((bench.folder / "state").iterdir())


@pytest.mark.parametrize(
    ("steps", "code", "words"),
    [
        (["say VERSION 1", "say CMETHODS DONE"], 69, "does not offer obfs4"),
        (["write oh no", "exit 3"], 76, "exit code 3 before it was ready"),
        (["say VERSION 2"], 76, "version 2"),
    ],
)
async def test_a_pt_that_does_not_start_breaks_the_chain(
    bench: Bench, steps: list[str], code: int, words: str
) -> None:
    bench.pt.play(*steps)
    found = await examined(bench, "127.0.0.1:9")
    assert words in broken(found, "start", code).text


async def test_a_pt_that_is_late_breaks_the_chain(bench: Bench) -> None:
    steps = await examined(bench, "127.0.0.1:9", f"{OPTIONS};start-timeout=0.1")
    assert "not ready within" in broken(steps, "start", 75).text


async def test_a_pt_that_takes_no_proxy_gets_the_wire_to_itself(bench: Bench) -> None:
    """Design 3: as it would, later."""
    bench.pt.play(
        "say VERSION 1",
        "proxy-error no proxies",
        "client socks5 shake",
        "say CMETHODS DONE",
    )
    async with serving(echo) as place:
        steps = await examined(bench, place)
    assert steps[2].verdict is Verdict.WARNING
    assert "as with hold=plain" in steps[2].text
    assert "hold=plain" in steps[3].text
    assert steps[-2].text == "it stays open"


# -- the way to the server -------------------------------------------------------------


async def test_a_name_without_an_address_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    steps = await examined(bench, "nobody.invalid:9")
    last = broken(steps, "name", 68)
    assert "nobody.invalid" in last.text
    assert "DNS" in last.text
    assert "resolver" in last.advice


async def test_a_port_where_nobody_listens_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    steps = await examined(bench, f"127.0.0.1:{bench.free_port()}")
    last = broken(steps, "server", 68)
    assert "connection refused" in last.text
    assert "pt-bridge doctor" in last.advice
    assert not bench.pt.named("asked")


async def test_each_alternative_is_told_and_one_is_enough(bench: Bench) -> None:
    """FE-17."""
    bench.pt.play(*SHAKES)
    async with serving(echo) as place:
        port = place.rpartition(":")[2]
        steps = await examined(bench, f"127.0.0.2|localhost|127.0.0.1:{port}")
    tried = [step for step in steps if step.link == "server"]
    assert [step.verdict for step in tried] == [
        Verdict.WARNING,
        Verdict.OK,
        Verdict.OK,
    ]
    assert tried[0].text.startswith(f"127.0.0.2:{port}: ")
    (named,) = [step for step in steps if step.link == "name"]
    assert named.text.startswith("localhost is ")
    (shaken,) = [step for step in steps if step.link == "handshake"]
    assert f"localhost:{port}" in shaken.text


async def test_a_transport_that_goes_its_own_way_is_left_to_it(bench: Bench) -> None:
    """RL-08: SS_REMOTE says nothing then."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    port = listener.getsockname()[1]
    steps = await examined(
        bench, f"127.0.0.1:{port}", "transport=meek_lite;url=https://e.example/"
    )
    (step,) = [step for step in steps if step.link == "server"]
    assert step.verdict is Verdict.SKIPPED
    assert "meek_lite" in step.text


# -- through the upstream proxy --------------------------------------------------------


async def test_a_proxy_where_nobody_listens_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    proxy = f"upstream-proxy=socks5://127.0.0.1:{bench.free_port()}"
    steps = await examined(bench, "server.example:9", f"{OPTIONS};{proxy}")
    assert "upstream proxy" in broken(steps, "proxy", 69).text


@pytest.mark.parametrize(
    ("login", "reply", "code", "words"),
    [
        ((b"user", b"password"), 0, 69, "user name and a password"),
        (None, 5, 68, "did not connect to the server"),
    ],
)
async def test_a_proxy_that_refuses_breaks_the_chain(
    bench: Bench, login: tuple[bytes, bytes] | None, reply: int, code: int, words: str
) -> None:
    """The name is the proxy's to resolve, and nothing goes around it."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    place = "{}:{}".format(*listener.getsockname())

    def be_proxy() -> None:
        bench.accept(listener).close()  # the first look
        with bench.accept(listener) as sock, contextlib.suppress(proxies.Refused):
            proxies.socks5(sock, login=login, reply=reply)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(be_proxy))
        steps = await examined(
            bench, "server.example:9", f"{OPTIONS};upstream-proxy=socks5://{place}"
        )
    assert words in broken(steps, "server", code).text
    (name,) = [step for step in steps if step.link == "name"]
    assert name.verdict is Verdict.SKIPPED


# -- the handshake ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handle", "words", "advice"),
    [
        (cut, "did not like what it saw", "another network"),
        (say_something_else, "the server speaks, but not", "client-options.txt"),
    ],
)
async def test_a_server_that_hangs_up_breaks_the_chain(
    bench: Bench, handle: Any, words: str, advice: str
) -> None:
    bench.pt.play(*SHAKES)
    async with serving(handle) as place:
        steps = await examined(bench, place)
    last = broken(steps, "handshake", 77)
    assert words in last.text
    assert advice in last.advice
    assert SECRET not in last.text


async def test_a_server_that_says_nothing_breaks_the_chain(bench: Bench) -> None:
    """SK-11: a wrong cert looks like that; --timeout need not be a minute."""
    bench.pt.play(*SHAKES)
    async with serving(stay_silent) as place:
        steps = await examined(bench, place, limit=SHORT)
    last = broken(steps, "handshake", 77)
    assert "the handshake came to nothing" in last.text
    assert "another server's" in last.text


async def test_arguments_that_the_pt_rejects_break_the_chain(bench: Bench) -> None:
    bench.pt.play("say VERSION 1", "client socks5 reject", "say CMETHODS DONE")
    async with serving(echo) as place:
        steps = await examined(bench, place)
    assert "escapes" in broken(steps, "handshake", 65).text


async def test_what_the_pt_says_of_a_failure_is_told_and_explained(
    bench: Bench,
) -> None:
    bench.pt.play(
        "say VERSION 1",
        "client socks5 shake",
        "say CMETHODS DONE",
        "await",
        'say LOG SEVERITY=error MESSAGE="x509: certificate signed by nobody"',
        "tell said",
    )

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bench.pt.open_gate()
        await bench.pt.heard("said")
        reset(writer)

    async with serving(say) as place:
        steps = await examined(bench, place)
    text = broken(steps, "handshake", 77).text
    assert "obfs4proxy: x509: certificate signed by nobody" in text
    assert "somebody in between" in text


async def test_a_pt_that_dies_meanwhile_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*SHAKES, "await", "exit 7")

    async def kill(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        bench.pt.open_gate()

    async with serving(kill) as place:
        steps = await examined(bench, place)
    assert "exit code 7" in broken(steps, "handshake", 75).text


# -- behind the server's PT ------------------------------------------------------------


@pytest.mark.parametrize("hold", ["both", "plain"])
@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
async def test_a_connection_that_is_cut_at_once_breaks_the_chain(
    bench: Bench, hold: str, end: Callable[[asyncio.StreamWriter], None]
) -> None:
    """SK-12: that is what a server does whose shadowsocks is down."""
    bench.pt.play(*SHAKES)

    async def echo_and_end(
        _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(HELLO)
        await bench.pt.heard("shaken")
        end(writer)

    async with serving(echo_and_end) as place:
        steps = await examined(bench, place, f"{OPTIONS};hold={hold}")
    last = broken(steps, "connection", 66)
    assert "shadowsocks server" in last.text
    assert "doctor" in last.advice


async def test_a_pt_that_passes_no_end_on_is_no_witness(bench: Bench) -> None:
    """Design 3: lyrebird, where its wire side is its own."""
    bench.pt.play(
        'say STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="1"', *SHAKES
    )
    async with serving(echo) as place:
        steps = await examined(bench, place, f"{OPTIONS};hold=plain")
    assert steps[-2].verdict is Verdict.OK
    assert "as far as one can see" in steps[-2].text


@pytest.mark.parametrize(
    ("profile", "advice"),
    [
        (Profile(), "config.json"),
        (Profile(method="aes-128-gcm", password="password"), "--through"),
    ],
)
async def test_who_asks_for_no_answer_is_told_how_to(
    bench: Bench, profile: Profile, advice: str
) -> None:
    bench.pt.play(*SHAKES)
    async with serving(echo) as place:
        steps = await examined(bench, place, profile=profile)
    assert steps[-1].verdict is Verdict.SKIPPED
    assert advice in steps[-1].advice


async def serve_web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO)
    if await reader.read(4096):
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def serve_nothing(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(HELLO)
    if await reader.read(4096):
        writer.close()


def whole(method: str) -> Profile:
    """All that shadowsocks must know, but for the server."""
    return Profile(method=method, password="password", plugin_opts=OPTIONS)


async def answered(
    bench: Bench, method: str, serve: Any, **more: Any
) -> tuple[list[Step], Step]:
    bench.pt.play(*SHAKES)
    async with serving(serve) as place:
        host, _, port = place.rpartition(":")
        profile = replace(whole(method), hosts=(host,), port=int(port))
        steps = await examined(bench, place, profile=profile, through=THROUGH, **more)
    return steps, steps[-1]


async def test_a_byte_that_comes_back_is_told(bench: Bench) -> None:
    """Issue 6, item 1: through shadowsocks and everything behind it."""
    bench.install_ss_local()
    _, last = await answered(bench, "plain", serve_web)
    assert (last.link, last.verdict) == ("answer", Verdict.OK)
    assert "web.example:80: HTTP/1.1 204 No Content" in last.text


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("plain", "(the connection was closed): its password or method"),
        ("refused", "ss-local ended as soon as it was started: Invalid cipher name"),
    ],
)
async def test_where_nothing_comes_back_the_chain_is_broken(
    bench: Bench, method: str, words: str
) -> None:
    bench.install_ss_local()
    steps, _ = await answered(bench, method, serve_nothing)
    assert words in broken(steps, "answer", 66).text


async def test_an_answer_is_not_waited_for_without_end(bench: Bench) -> None:
    bench.install_ss_local()
    steps, _ = await answered(bench, "plain", echo, limit=2 * SHORT)
    last = broken(steps, "answer", 66)
    assert "no answer in time" in last.text
    assert "password" in last.advice


async def test_a_pt_that_speaks_socks4_gets_the_wire_to_itself(bench: Bench) -> None:
    """SK-15: it has no names."""
    bench.pt.play("say VERSION 1", "client socks4 shake", "say CMETHODS DONE")
    async with serving(echo) as place:
        steps = await examined(bench, place)
    assert "SOCKS4" in steps[2].text
    assert "(socks4, hold=plain)" in steps[3].text
    assert not any(step.has_failed for step in steps)


async def test_a_pt_with_the_wire_to_itself_is_given_the_users_proxy(
    bench: Bench,
) -> None:
    """Design 3: and no wire is taken from it that goes around."""
    bench.pt.play(
        "say VERSION 1", "proxy-error no proxies", "client", "say CMETHODS DONE"
    )
    proxy = "upstream-proxy=socks5://localhost:9"
    steps = await examined(bench, "server.example:9", f"{OPTIONS};hold=plain;{proxy}")
    assert "no proxies" in broken(steps, "start", 69).text
    assert bench.pt.environment["TOR_PT_PROXY"] == "socks5://127.0.0.1:9"


async def test_a_proxy_without_an_address_breaks_the_chain(bench: Bench) -> None:
    proxy = "upstream-proxy=socks5://nobody.invalid:9"
    steps = await examined(bench, "server.example:9", f"{OPTIONS};hold=plain;{proxy}")
    assert "upstream proxy" in broken(steps, "start", 69).text


async def test_time_that_is_up_breaks_the_chain_where_it_is(bench: Bench) -> None:
    """Every wait has its limit, whatever waits."""
    steps = await examined(bench, "127.0.0.1:9", limit=0.0)
    assert "--timeout" in broken(steps, "program", 75).text
