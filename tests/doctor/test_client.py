"""A client's chain, each of its links broken in turn."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pt_bridge.doctor.client import ClientChecks
from pt_bridge.doctor.report import Verdict
from pt_bridge.formats.profile import Profile
from pt_bridge.net.sockets import NO_LINGER
from pt_bridge.options.config import Config
from pt_bridge.options.ss_variables import variables_from_flags
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.frames import Cause
from tests.support import proxies
from tests.support.check_results import the_failed
from tests.support.fake_pt import HELLO
from tests.support.played_session import PlayedSession
from tests.support.processes import CLIENT, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pt_bridge.doctor.report import CheckResult
    from tests.support.processes import Bench

OPTIONS = f"transport=obfs4;cert={SECRET};iat-mode=0"
PLAIN = f"{OPTIONS};session=0"
SHAKES = ("say VERSION 1", "client socks5 shake", "say CMETHODS DONE")
STAY = 0.2  # seconds; what a test wants to see ends it before, or never
LIMIT = 20.0
THROUGH = Address("web.example", 80)
# More than a silent server needs to be given up, and less than the fake PT's patience.
SHORT = 10.0
PATIENCE = 0.5  # seconds; what a test wants to see ends it before, or never


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
) -> list[CheckResult]:
    """Walk the chain; see that nothing is left."""
    checks = ClientChecks(
        config(options, remote),
        {key.encode(): os.fsencode(value) for key, value in bench.variables.items()},
        deadline=asyncio.get_running_loop().time() + limit,
        profile=profile or Profile(),
        stay=stay,
        **more,
    )
    async with checks:
        results = [result async for result in checks.results()]
    assert bench.pt.is_gone()
    assert not list((bench.folder / "tmp").iterdir())
    return results


@contextlib.asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[str]:
    """Be the server; return its place."""
    open_ones: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    async def handled(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        open_ones.append(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        # A look at the server alone says nothing; one at who answers is no hello.
        if await reader.read(len(HELLO)):
            await handle(reader, writer)

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            for writer in open_ones:
                writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection as a censor does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()


async def echo(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO)


async def speak(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    refusal: Cause | None = None,
) -> None:
    """Act as a server with a session."""
    writer.write(HELLO)
    await PlayedSession(refusal=refusal).serve(reader, writer)


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


@pytest.mark.parametrize("session", ["auto", "1"])
async def test_a_chain_that_holds_is_walked_to_its_end(
    bench: Bench, session: str
) -> None:
    bench.pt.play(*SHAKES)
    async with serving(speak) as place:
        results = await examined(bench, place, f"{OPTIONS};session={session}")
    links = ["program", "state", "start", "server", "handshake", "session", "answer"]
    assert [result.link for result in results] == links
    assert {result.verdict for result in results[:-1]} == {Verdict.OK}
    assert results[-1].verdict is Verdict.SKIPPED
    texts = [result.text for result in results]
    assert texts[0] == f"{bench.pt.path}, obfs4proxy-0.0.1"
    assert texts[2].endswith("offers obfs4 (socks5)")
    assert place in texts[3]
    assert "its shadowsocks takes connections" in texts[5]


async def test_without_a_session_a_plain_connection_is_looked_at(
    bench: Bench,
) -> None:
    bench.pt.play(*SHAKES)
    async with serving(echo) as place:
        results = await examined(bench, place, PLAIN)
    assert [result.link for result in results[-3:]] == [
        "handshake",
        "connection",
        "answer",
    ]
    assert results[-2].text == "it stays open"


async def test_the_version_that_a_pt_tells_is_told(bench: Bench) -> None:
    bench.pt.play(
        'say STATUS TYPE=version IMPLEMENTATION="its-name" VERSION="1.2.3"', *SHAKES
    )
    async with serving(echo) as place:
        results = await examined(bench, place, PLAIN)
    assert "its-name 1.2.3 offers obfs4" in results[2].text


async def test_a_service_that_speaks_first_is_a_sign_of_life(bench: Bench) -> None:
    bench.pt.play(*SHAKES)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO + b"220 ready\r\n")

    async with serving(greet) as place:
        results = await examined(bench, place, PLAIN, stay=LIMIT / 2)
    assert results[-2].verdict is Verdict.OK


# -- this machine ----------------------------------------------------------------------


async def test_a_program_that_is_missing_breaks_the_chain(bench: Bench) -> None:
    bench.pt.path.unlink()
    results = await examined(bench, "127.0.0.1:9", f"{OPTIONS};exec=meek-client")
    assert "no PT program was found" in the_failed(results, "program", 71).text


async def test_a_path_that_links_may_not_name_breaks_the_chain(bench: Bench) -> None:
    results = await examined(bench, "127.0.0.1:9", f"{OPTIONS};exec=/bin/sh")
    assert "exec=" in the_failed(results, "program", 65).text


async def test_a_folder_that_cannot_be_made_breaks_the_chain(bench: Bench) -> None:
    (bench.folder / "state/pt-bridge").write_text("")
    results = await examined(bench, "127.0.0.1:9", f"{OPTIONS};state=x")
    assert "pt-bridge" in the_failed(results, "state", 73).text


async def test_a_folder_that_is_asked_for_is_not_made(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    await examined(bench, "127.0.0.1:9", f"{OPTIONS};state=x")
    assert not list((bench.folder / "state").iterdir())


@pytest.mark.parametrize(
    ("results", "code", "words"),
    [
        (["say VERSION 1", "say CMETHODS DONE"], 69, "does not offer obfs4"),
        (["write oh no", "exit 3"], 76, "exit code 3 before it was ready"),
        (["say VERSION 2"], 76, "version 2"),
    ],
)
async def test_a_pt_that_does_not_start_breaks_the_chain(
    bench: Bench, results: list[str], code: int, words: str
) -> None:
    bench.pt.play(*results)
    found = await examined(bench, "127.0.0.1:9")
    assert words in the_failed(found, "start", code).text


async def test_a_pt_that_is_late_breaks_the_chain(bench: Bench) -> None:
    results = await examined(bench, "127.0.0.1:9", f"{OPTIONS};start-timeout=0.1")
    assert "not ready within" in the_failed(results, "start", 75).text


# -- the way to the server -------------------------------------------------------------


async def test_a_name_without_an_address_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    results = await examined(bench, "nobody.invalid:9")
    last = the_failed(results, "name", 68)
    assert "nobody.invalid" in last.text
    assert "DNS" in last.text
    assert "resolver" in last.advice


async def test_a_port_where_nobody_listens_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    results = await examined(bench, f"127.0.0.1:{bench.free_port()}")
    last = the_failed(results, "server", 68)
    assert "connection refused" in last.text
    assert "pt-bridge doctor" in last.advice
    assert not bench.pt.named("asked")


async def test_each_alternative_is_told_and_one_is_enough(bench: Bench) -> None:
    """FE-17."""
    bench.pt.play(*SHAKES)
    async with serving(speak) as place:
        port = place.rpartition(":")[2]
        results = await examined(bench, f"127.0.0.2|localhost|127.0.0.1:{port}")
    tried = [result for result in results if result.link == "server"]
    assert [result.verdict for result in tried] == [
        Verdict.WARNING,
        Verdict.OK,
        Verdict.OK,
    ]
    assert tried[0].text.startswith(f"127.0.0.2:{port}: ")
    (named,) = [result for result in results if result.link == "name"]
    assert named.text.startswith("localhost is ")
    (shaken,) = [result for result in results if result.link == "handshake"]
    assert f"localhost:{port}" in shaken.text


async def test_a_transport_that_goes_its_own_way_is_left_to_it(bench: Bench) -> None:
    """RL-08: SS_REMOTE says nothing then."""
    bench.pt.play(*CLIENT)
    listener = bench.listen()
    port = listener.getsockname()[1]
    results = await examined(
        bench,
        f"127.0.0.1:{port}",
        "transport=meek_lite;url=https://e.example/;session=0",
    )
    (result,) = [result for result in results if result.link == "server"]
    assert result.verdict is Verdict.SKIPPED
    assert "meek_lite" in result.text


# -- through the upstream proxy --------------------------------------------------------


async def test_a_proxy_where_nobody_listens_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*CLIENT)
    proxy = f"upstream-proxy=socks5://127.0.0.1:{bench.free_port()}"
    results = await examined(bench, "server.example:9", f"{OPTIONS};{proxy}")
    assert "upstream proxy" in the_failed(results, "proxy", 69).text


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
        results = await examined(
            bench, "server.example:9", f"{OPTIONS};upstream-proxy=socks5://{place}"
        )
    assert words in the_failed(results, "server", code).text
    (name,) = [result for result in results if result.link == "name"]
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
        results = await examined(bench, place)
    last = the_failed(results, "handshake", 77)
    assert words in last.text
    assert advice in last.advice
    assert SECRET not in last.text


async def test_a_server_that_says_nothing_breaks_the_chain(bench: Bench) -> None:
    """SK-11: a wrong cert looks like that; --timeout need not be a minute."""
    bench.pt.play(*SHAKES)
    async with serving(stay_silent) as place:
        results = await examined(bench, place, limit=SHORT)
    last = the_failed(results, "handshake", 77)
    assert "the handshake came to nothing" in last.text
    assert "another server's" in last.text


async def test_arguments_that_the_pt_rejects_break_the_chain(bench: Bench) -> None:
    bench.pt.play("say VERSION 1", "client socks5 reject", "say CMETHODS DONE")
    async with serving(echo) as place:
        results = await examined(bench, place)
    assert "escapes" in the_failed(results, "handshake", 65).text


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
        results = await examined(bench, place)
    text = the_failed(results, "handshake", 77).text
    assert "obfs4proxy: x509: certificate signed by nobody" in text
    assert "somebody in between" in text


async def test_a_pt_that_dies_meanwhile_breaks_the_chain(bench: Bench) -> None:
    bench.pt.play(*SHAKES, "await", "exit 7")

    async def kill(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        bench.pt.open_gate()

    async with serving(kill) as place:
        results = await examined(bench, place)
    assert "exit code 7" in the_failed(results, "handshake", 75).text


# -- behind the server's PT ------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "words", "advice"),
    [
        (Cause.REFUSED, "the server's shadowsocks is down", "start the shadowsocks"),
        (Cause.UNREACHABLE, "does not reach the shadowsocks", "--local"),
        (Cause.BUSY, "short of something", "LimitNOFILE="),
        (Cause.UNSUPPORTED, "no UDP", "update pt-bridge"),
        (Cause.SILENT, "a reason that this version does not know", "log"),
    ],
)
async def test_a_refused_stream_breaks_the_chain_and_says_why(
    bench: Bench, cause: Cause, words: str, advice: str
) -> None:
    """SK-12: the server itself tells."""
    bench.pt.play(*SHAKES)
    async with serving(functools.partial(speak, refusal=cause)) as place:
        results = await examined(bench, place)
    last = the_failed(results, "session", 66)
    assert words in last.text
    assert advice in last.advice


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Act as a server without a session that ends who says anything."""
    writer.write(HELLO)
    if await reader.read(100):
        writer.close()


async def answer_otherwise(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(HELLO)
    if await reader.read(100):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


NO_SESSIONS = pytest.mark.parametrize(
    ("handle", "words", "patience"),
    [
        (hang_up, "closed it", LIMIT),
        (answer_otherwise, "answered something else", LIMIT),
        (echo, "said nothing", PATIENCE),
    ],
    ids=["ends", "answers", "silent"],
)


@NO_SESSIONS
async def test_a_server_without_a_session_is_looked_at_as_one(
    bench: Bench, handle: Any, words: str, patience: float
) -> None:
    """session=auto: so it is with every connection of shadowsocks's, too."""
    bench.pt.play(*SHAKES)
    async with serving(handle) as place:
        results = await examined(bench, place, patience=patience)
    found, connection = results[-3:-1]
    assert (found.link, found.verdict) == ("session", Verdict.WARNING)
    assert words in found.text
    assert "session=0" in found.advice
    assert (connection.link, connection.text) == ("connection", "it stays open")


@NO_SESSIONS
async def test_a_server_without_a_session_breaks_a_chain_that_needs_one(
    bench: Bench, handle: Any, words: str, patience: float
) -> None:
    bench.pt.play(*SHAKES)
    async with serving(handle) as place:
        results = await examined(
            bench, place, f"{OPTIONS};session=1", patience=patience
        )
    last = the_failed(results, "session", 66)
    assert words in last.text
    assert "session=1" in last.advice


async def test_one_connection_that_ends_tells_nothing_of_the_server(
    bench: Bench,
) -> None:
    """It may have been bad luck, so there is a second one."""
    bench.pt.play(*SHAKES)
    number = 0

    async def end_the_first(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal number
        number += 1
        if number == 1:
            await hang_up(reader, writer)
        else:
            await speak(reader, writer)

    async with serving(end_the_first) as place:
        results = await examined(bench, place)
    assert (results[-2].link, results[-2].verdict) == ("session", Verdict.OK)
    assert number == 2


async def test_a_second_connection_that_fails_breaks_the_chain(bench: Bench) -> None:
    """The PT let us in, and does not any more."""
    bench.pt.play("say VERSION 1", "client socks5 shake,refuse", "say CMETHODS DONE")
    async with serving(hang_up) as place:
        results = await examined(bench, place)
    assert "SOCKS reply 1" in the_failed(results, "session", 77).text


async def test_a_plain_connection_that_fails_breaks_the_chain(bench: Bench) -> None:
    """The one on which a session was looked for is used up."""
    bench.pt.play("say VERSION 1", "client socks5 shake,refuse", "say CMETHODS DONE")
    async with serving(answer_otherwise) as place:
        results = await examined(bench, place)
    assert "SOCKS reply 1" in the_failed(results, "connection", 77).text


@pytest.mark.parametrize("options", [OPTIONS, PLAIN])
async def test_a_pt_that_dies_behind_the_handshake_breaks_the_chain(
    bench: Bench, options: str
) -> None:
    """Not the server, which would be blamed for its end."""
    bench.pt.play(*SHAKES, "await", "exit 7")

    async def kill(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        await bench.pt.heard("shaken")
        bench.pt.open_gate()

    link = "connection" if options == PLAIN else "session"
    async with serving(kill) as place:
        results = await examined(bench, place, options, stay=LIMIT)
    # The end of a PT may be seen before its answer to the handshake is read.
    found = "handshake" if results[-1].link == "handshake" else link
    assert "exit code 7" in the_failed(results, found, 75).text


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
async def test_a_plain_connection_that_is_cut_at_once_breaks_the_chain(
    bench: Bench, end: Callable[[asyncio.StreamWriter], None]
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
        results = await examined(bench, place, PLAIN, stay=LIMIT)
    last = the_failed(results, "connection", 66)
    assert "shadowsocks server" in last.text
    assert "doctor" in last.advice


async def test_a_pt_that_passes_no_end_on_is_no_witness(bench: Bench) -> None:
    """Not even the end of a connection on its own wire: lyrebird."""
    bench.pt.play(
        'say STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="1"', *SHAKES
    )
    async with serving(echo) as place:
        results = await examined(bench, place, PLAIN)
    assert results[-2].verdict is Verdict.OK
    assert "as far as one can see" in results[-2].text


async def serve_web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HELLO)
    if await reader.read(4096):
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def test_a_byte_that_comes_back_is_told(bench: Bench) -> None:
    """Through shadowsocks and everything behind it."""
    bench.install_ss_local()
    bench.pt.play(*SHAKES)
    async with serving(serve_web) as place:
        host, _, port = place.rpartition(":")
        profile = Profile(
            hosts=(host,),
            port=int(port),
            method="plain",
            password="password",
            plugin_opts=PLAIN,
        )
        results = await examined(bench, place, PLAIN, profile=profile, through=THROUGH)
    assert (results[-1].link, results[-1].verdict) == ("answer", Verdict.OK)
    assert "web.example:80: HTTP/1.1 204 No Content" in results[-1].text


async def test_a_pt_may_speak_socks4(bench: Bench) -> None:
    """SK-15: it has no names."""
    bench.pt.play("say VERSION 1", "client socks4 shake", "say CMETHODS DONE")
    async with serving(speak) as place:
        results = await examined(bench, place)
    assert results[2].text.endswith("(socks4)")
    assert not any(result.has_failed for result in results)


async def test_a_pt_is_given_the_users_proxy(bench: Bench) -> None:
    """And where it takes none, nothing goes around it."""
    bench.pt.play(
        "say VERSION 1", "proxy-error no proxies", "client", "say CMETHODS DONE"
    )
    proxy = "upstream-proxy=socks5://localhost:9"
    results = await examined(bench, "server.example:9", f"{OPTIONS};{proxy}")
    assert "no proxies" in the_failed(results, "start", 69).text
    assert bench.pt.environment["TOR_PT_PROXY"] == "socks5://127.0.0.1:9"


async def test_a_proxy_without_an_address_breaks_the_chain(bench: Bench) -> None:
    proxy = "upstream-proxy=socks5://nobody.invalid:9"
    results = await examined(bench, "server.example:9", f"{OPTIONS};{proxy}")
    assert "upstream proxy" in the_failed(results, "start", 69).text


async def test_time_that_is_up_breaks_the_chain_where_it_is(bench: Bench) -> None:
    """Every wait has its limit, whatever waits."""
    results = await examined(bench, "127.0.0.1:9", limit=0.0)
    assert "--timeout" in the_failed(results, "program", 75).text


# -- another plugin between the PT and the Internet ------------------------------------

VIA = ";via=obfs-local;via-opts=obfs\\=http"


async def test_the_plugin_outside_is_a_link_of_the_chain(bench: Bench) -> None:
    """Behind the server's name, which it looks up as soon as it starts."""
    bench.pt.play(*SHAKES)
    plugin = bench.install_plugin("obfs-local", "plugin")
    async with serving(speak) as place:
        results = await examined(bench, place, f"{OPTIONS};session=1{VIA}")
    links = ["program", "state", "server", "plugin", "start", "handshake", "session"]
    assert [result.link for result in results[:-1]] == links
    assert {result.verdict for result in results[:-1]} == {Verdict.OK}
    assert results[3].text == f"obfs-local listens ({plugin.path})"
    assert plugin.is_gone()


@pytest.mark.parametrize(
    ("via", "results", "code", "words"),
    [
        (VIA, ("write no luck", "exit 1"), 76, "before it listened: no luck"),
        (VIA, (), 75, "obfs-local did not listen on port"),
        (";via=obfs-server", (), 65, "via=obfs-server is for the server side"),
        (";via=ck-client", (), 71, "no plugin was found: install ck-client"),
        (";via=no-such", (), 65, "via= in plugin options, which links can carry"),
    ],
)
async def test_a_plugin_that_cannot_be_used_breaks_the_chain(
    bench: Bench, via: str, results: tuple[str, ...], code: int, words: str
) -> None:
    bench.pt.play(*SHAKES)
    bench.install_plugin("obfs-local", *results)
    host, port = bench.listen().getsockname()
    options = OPTIONS + via
    if code == 75:  # nothing more will come
        options += ";start-timeout=0.5"
    found = await examined(bench, f"{host}:{port}", options)
    assert words in the_failed(found, "plugin", code).text


async def test_a_plugin_that_nobody_has_is_said_before_the_server_is_asked(
    bench: Bench,
) -> None:
    bench.pt.play(*SHAKES)
    steps = await examined(bench, "127.0.0.1:9", f"{OPTIONS};via=obfs-locl")
    assert "did you mean 'obfs-local'?" in the_failed(steps, "plugin", 65).text
    assert [each.link for each in steps] == ["program", "plugin"]


async def test_what_may_differ_is_said_where_nobody_lets_us_in(bench: Bench) -> None:
    bench.pt.play("say VERSION 1", "client socks5 refuse", "say CMETHODS DONE")
    bench.install_plugin("obfs-local", "plugin")
    host, port = bench.listen().getsockname()
    results = await examined(bench, f"{host}:{port}", OPTIONS + VIA)
    last = the_failed(results, "handshake", 77)
    assert last.advice.endswith(
        "see that the server has the other side of the plugin, and that via-opts= fits "
        "there"
    )
