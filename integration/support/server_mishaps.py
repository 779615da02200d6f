"""What goes wrong with a server, and with both sides under shadowsocks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from integration.support.endpoints import (
    connect,
    connect_through,
    digest,
    download,
    free_port,
    read_until_reset,
)
from integration.support.internet import (
    CLIENT,
    CLIENT_6,
    IDN_NAME,
    NO_NAME,
    SERVER,
    SERVER_6,
    SERVER_NAME,
)
from integration.support.machine import await_ss_server
from integration.support.mishaps import (
    CERT,
    HEXADECIMAL,
    LYREBIRD,
    NODE_ID,
    OBFS4PROXY,
    PATH,
    SEED,
    START_TIMEOUT,
    USUAL,
    WORD,
    filth,
    mishap,
)
from integration.support.programs import DEADLINE, wait_until
from integration.support.scene import ask_status, pt_of
from pt_bridge.options.own_options import CLIENT as CLIENT_ROLE
from pt_bridge.options.own_options import SERVER as ROLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.support.machine import Machine
    from integration.support.scene import Scene, Server
    from tests.support.processes import FakePt

OBFS4 = f"transport=obfs4;exec={OBFS4PROXY}"
NOBODY = ("127.0.0.1", 9)  # no host listens there


def _all_end(servers: Sequence[Server], *codes: int) -> None:
    ended = {server.program.wait() for server in servers}
    assert ended <= set(codes)


# -- connections that fail -------------------------------------------------------------


@mishap(ROLE)
def a_server_carries_until_its_pt_dies(scene: Scene) -> None:
    for pt in (OBFS4PROXY, LYREBIRD):
        service = scene.service()
        options = f"transport=obfs4;exec={pt}"
        server = scene.start_server(options, local=service.address)
        options = f"{server.options()};exec={OBFS4PROXY}"
        scene.learn(server.program, ROLE)
        client = scene.start_client(options, SERVER, server.port)
        with client.connect() as sock:
            assert download(sock, 1000) == digest(1000)
            pt_of(server.program).kill()
            read_until_reset(sock)
        _rave(scene, server)
        ask_status(server.program)


def _rave(scene: Scene, server: Server) -> None:
    """Send a server what no client sends."""
    with (
        scene.at(scene.client),
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
        connect((SERVER, server.port)) as sock,
    ):
        sock.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n".encode())


@mishap(ROLE)
def shadowsockss_own_server_is_down(scene: Scene) -> None:
    server = scene.start_server(OBFS4, SERVER_6, local=NOBODY)
    options = f"{server.options()};exec={OBFS4PROXY}"
    scene.learn(server.program, ROLE)
    client = scene.start_client(options, SERVER_6, server.port)
    client.fails()
    ask_status(server.program)
    ask_status(client.program)


def _read_until(sock: socket.socket, words: bytes) -> None:
    answer = b""
    while words not in answer and (data := sock.recv(1024)):
        answer += data


X_FORWARDED_FOR = (
    CLIENT,
    f"[{CLIENT_6}]:4711",
    CLIENT_6.upper(),
    SERVER_NAME,
    f"rubbish \x01{CLIENT}",
    f"\x1b[31m{CLIENT_6}\x07",
    "x" * 5000,
    "",
)


@mishap(ROLE, settings=("", "session=only"), tells=True)
def a_client_says_who_it_is_and_lies(scene: Scene) -> None:
    """webtunnel-server believes X-Forwarded-For, and makes a USERADDR of it."""
    service = scene.service()
    server = scene.start_server(
        f"transport=webtunnel;url=https://{SERVER_NAME}{PATH}", local=service.address
    )
    server.options()
    for value in X_FORWARDED_FOR:
        with scene.at(scene.client):
            sock = connect((SERVER, server.port))
        with sock:
            sock.sendall(
                f"GET {PATH} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nUpgrade: websocket\r\n"
                f"Connection: upgrade\r\nX-Forwarded-For: {value}\r\n\r\n".encode()
            )
            _read_until(sock, b"\r\n\r\n")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b"GIVE 1\n")
                sock.recv(1)
    ask_status(server.program)


# -- what keeps a server from starting -------------------------------------------------


@mishap(ROLE)
def a_server_cannot_listen(scene: Scene) -> None:
    """The port is in use, the address is not ours."""
    port = free_port()
    with scene.at(scene.server):
        holder = socket.create_server((SERVER, port))
    with holder:
        _all_end(
            [
                scene.start_server(OBFS4, host, port)
                for host in (SERVER, "203.0.113.99", "2001:DB8:0:0:0::99")
            ],
            74,
        )


@mishap(ROLE)
def a_servers_names_do_not_resolve(scene: Scene) -> None:
    _all_end(
        [
            scene.start_server(f"{OBFS4};start-timeout=1", NO_NAME),
            scene.start_server(f"{OBFS4};start-timeout=1", local=(NO_NAME, 9)),
        ],
        *(64, 74, 75),  # a DNS that is late is waited for
    )


@mishap(ROLE)
def a_servers_host_has_a_name_and_several_addresses(scene: Scene) -> None:
    server = scene.start_server(OBFS4, local=(SERVER_NAME, 9))
    client = scene.start_client(
        f"{server.options()};exec={OBFS4PROXY}", SERVER, server.port
    )
    client.fails()
    ask_status(server.program)


BROKEN_OPTIONS = (
    f"transport=obfs4;cert={CERT}\\",
    f"transport=obfs4;private-key={HEXADECIMAL};{WORD}",
    f"transport=obfs4;private_key={HEXADECIMAL};{NODE_ID}",
    f"transport=webtunnel;exec=webtunnel-server;ulr=https://{NO_NAME}{PATH}",
    f"transport=obfs4;upstream-proxy=socks5://{WORD}:{WORD}@{SERVER}:1080",
    f"transport=obfs4;state=../{WORD}",
)


@mishap()
def a_servers_options_are_broken(scene: Scene) -> None:
    _all_end([scene.start_server(options) for options in BROKEN_OPTIONS], 65)


@mishap(ROLE, settings=USUAL)
def a_pt_does_not_take_a_servers_arguments(scene: Scene) -> None:
    keys = f"node-id={NODE_ID};private-key={HEXADECIMAL}"
    _all_end(
        [
            scene.start_server(f"transport=obfs4;exec={pt};{arguments}")
            for pt in (OBFS4PROXY, LYREBIRD)
            for arguments in (
                f"{keys};drbg-seed={WORD}",
                f"node-id={WORD};private-key={HEXADECIMAL};drbg-seed={HEXADECIMAL}",
                f"{keys};drbg-seed={SEED};iat-mode={WORD}",
            )
        ],
        69,
    )


@mishap(ROLE, settings=USUAL)
def a_servers_state_is_in_a_bad_way(scene: Scene) -> None:
    """Gone, of another server, broken; and a folder that others may write to."""
    port = free_port()
    state = scene.server.folder / f"state/pt-bridge/obfs4-{port}"
    file = state / "obfs4_state.json"
    for size in (0, None, 300):
        server = scene.start_server(OBFS4, port=port)
        server.options()
        ask_status(server.program)
        scene.learn_identities()
        assert server.program.stop() == 0
        (state / "obfs4_bridgeline.txt").unlink()
        if size == 0:
            file.unlink()
        elif size is not None:
            os.truncate(file, size)
    _all_end([scene.start_server(OBFS4, port=port)], 69)
    state.chmod(0o777)
    _all_end([scene.start_server(OBFS4, port=port)], 73)


# -- PTs that misbehave ----------------------------------------------------------------

FAKE_OPTIONS = (
    f"transport=obfs4;exec={OBFS4PROXY};cert={CERT};iat-mode=0;password={WORD};"
    f"url=https://{SERVER_NAME}{PATH};arg-other=https://{IDN_NAME}/"
)


def _start_fake(scene: Scene, *steps: str, options: str = "") -> tuple[Server, FakePt]:
    fake, variables = scene.fake_pt(scene.server, *steps)
    options = f"{FAKE_OPTIONS}{options}"
    return scene.start_server(options, variables=variables), fake


@mishap(ROLE, settings=USUAL, tells=True)
def a_pt_server_writes_all_that_it_knows(scene: Scene) -> None:
    early = [line for text in filth() for line in (f"write {text}", f"say {text}")]
    late = [f"write {text}" for text in filth()]
    own_cert = f"{CERT[1:]}/"
    scene.needles.add(own_cert)
    server, fake = _start_fake(
        scene,
        *(*early, "say VERSION 1"),
        f"server ARGS:cert={own_cert},node-id={NODE_ID},other={WORD}9",
        f'say LOG SEVERITY=error MESSAGE="{own_cert} {WORD}9"',
        *("say SMETHODS DONE", *late, "tell wrote", "await"),
        *(f"write the last words: {own_cert} {SERVER}", "die 11"),
    )
    fake.event("wrote")
    server.options()
    ask_status(server.program)
    scene.learn(server.program, ROLE)
    pt = pt_of(server.program)
    fake.open_gate()
    pt.wait(DEADLINE)


REFUSALS = (
    "say ENV-ERROR {}",
    "say VERSION 1\nsay SMETHOD-ERROR obfs4 {}\nsay SMETHODS DONE",
    "say VERSION 1\nsay SMETHOD-ERROR obfs4 listen {0}: bind: {0}\nsay SMETHODS DONE",
    "say VERSION 1\nsay SMETHODS DONE {}",
    "say VERSION 1\nsay SMETHOD obfs4 {0} ARGS:{0}\nsay {0}",
    "write {}\nexit 3",
)


@mishap(ROLE, settings=USUAL, tells=True)
def a_pt_server_does_not_start(scene: Scene) -> None:
    """And says why, with its environment and all that is in it."""
    words = (
        f"{SERVER} obfs4:cert={CERT};obfs4:password={WORD} [{SERVER_6}] {SERVER_NAME} "
        f"obfs4:url=https\\://{SERVER_NAME}{PATH}"
    )
    _all_end(
        [
            _start_fake(
                scene,
                *refusal.format(words).split("\n"),
                options=f";start-timeout={START_TIMEOUT}",
            )[0]
            for refusal in REFUSALS
        ],
        *(69, 75, 76),
    )


# -- bugs ------------------------------------------------------------------------------

BROKEN_LIBRARY = f"""\
import os, sys
known = "{CERT} {SERVER} [{SERVER_6}]"
raise RuntimeError(f"{{known}} {{sys.argv!r}} {{dict(os.environ)!r}}")
"""


def _break_library(scene: Scene, machine: Machine) -> dict[str, str]:
    """Break psutil, which is asked who holds a port; give the environment for that."""
    library = machine.folder / "library"
    library.mkdir()
    (library / "psutil.py").write_text(BROKEN_LIBRARY)
    return {**scene.variables(machine), "PYTHONPATH": str(library)}


@mishap(ROLE, tells=True)
def a_library_is_broken_on_a_server(scene: Scene) -> None:
    """So there is a traceback, with all that was given to us in it."""
    variables = _break_library(scene, scene.server)
    keys = f"private-key={HEXADECIMAL};node-id={NODE_ID};drbg-seed={SEED}"
    port = free_port()
    with scene.at(scene.server):
        holder = socket.create_server((SERVER, port))
    with holder:
        server = scene.start_server(f"{OBFS4};{keys}", port=port, variables=variables)
        _all_end([server], 70)


@mishap(CLIENT_ROLE, tells=True)
def a_library_is_broken_on_a_client(scene: Scene) -> None:
    """The same where there is no log yet, and where the loop gets the exception."""
    variables = _break_library(scene, scene.client)
    options = f"transport=obfs4;exec={OBFS4PROXY};cert={CERT};iat-mode=0"
    place = (CLIENT, free_port())
    with scene.at(scene.client):
        holder = socket.create_server(place)
    with holder:
        client = scene.start_client(
            options, SERVER_NAME, local=place, variables=variables
        )
        assert client.program.wait() == 70
    client = scene.start_client(options, SERVER_NAME, variables=variables)
    client.fails()
    client.program.signal(signal.SIGUSR1)
    client.program.wait_for("Traceback")


# -- under shadowsocks -----------------------------------------------------------------


@mishap(ROLE, hosts=True)
def shadowsocks_carries_until_both_pts_die(scene: Scene) -> None:
    service = scene.service()
    port, socks_port = free_port(), free_port()
    program = scene.server.ss_server(
        port,
        scene.plugin_options(ROLE, OBFS4),
        hosts=[SERVER],
        variables=scene.variables(scene.server),
    )
    server = scene.server_of(program, SERVER, port)
    options = f"{server.options()};exec={OBFS4PROXY}"
    with scene.at(scene.server):
        await_ss_server(program)
    scene.client.ss_local(
        port,
        socks_port,
        scene.plugin_options(CLIENT_ROLE, options),
        hosts=[SERVER_NAME],
        variables=scene.variables(scene.client),
    )

    def carries() -> bool:
        with (
            contextlib.suppress(OSError, AssertionError),
            scene.at(scene.client),
            connect_through(socks_port, service.address) as sock,
        ):
            return download(sock, 1000) == digest(1000)
        return False

    for machine in (scene.server, scene.client):
        wait_until(carries, "a download")
        for pt in machine.processes()[OBFS4PROXY]:
            pt.kill()
    wait_until(carries, "a download")
