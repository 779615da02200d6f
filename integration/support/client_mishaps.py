"""What goes wrong with a client."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from integration.support.endpoints import digest, download, free_port, read_until_reset
from integration.support.internet import (
    CLIENT,
    FRONT_NAME,
    IDN_UNICODE,
    NO_NAME,
    PROXY,
    PROXY_NAME,
    SERVER,
    SERVER_6,
    SERVER_NAME,
    SILENT,
    UNREACHABLE,
)
from integration.support.mishaps import (
    BASE32_WORD,
    CERT,
    LYREBIRD,
    NODE_ID,
    OBFS3,
    OBFS4PROXY,
    PATH,
    PROXY_PASSWORD,
    START_TIMEOUT,
    USER,
    USUAL,
    WORD,
    filth,
    mishap,
    proxy,
)
from integration.support.programs import DEADLINE, find, wait_until
from integration.support.scene import ask_status, closes, holds_on, pt_of, resets, says
from pt_bridge.options.own_options import CLIENT as ROLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

    from integration.support.scene import Answer, Client, Scene
    from tests.support.processes import FakePt

SOCKS5_ASKS, SOCKS5_TAKES, SOCKS5_REFUSES = b"\x05\x02", b"\x01\x00", b"\x01\x01"
SOCKS5_CANNOT = b"\x05\x05\x00\x01" + bytes(6)
NOT_ALLOWED = (
    f"HTTP/1.1 407 {USER} {PROXY_PASSWORD} {NO_NAME}\r\nContent-Length: 0\r\n\r\n"
)
WEBTUNNEL_CLIENT = "webtunnel-client"
ESTABLISHED = "01"  # in /proc/net/tcp


def _all_fail(clients: Sequence[Client]) -> None:
    for client in clients:
        client.fails()
    for client in clients:
        if client.program.runs:
            ask_status(client.program)


# -- connections that fail -------------------------------------------------------------


@mishap(ROLE)
def a_client_carries_until_its_pt_dies(scene: Scene) -> None:
    for pt in (OBFS4PROXY, LYREBIRD):
        service = scene.service()
        server = scene.start_server(f"transport=obfs4;exec={pt}", local=service.address)
        options = f"{server.options()};exec={pt}"
        scene.needles.add(options.partition("cert=")[2].partition(";")[0])
        client = scene.start_client(options, SERVER_NAME, server.port)
        for _ in range(2):
            with client.connect() as sock:
                assert download(sock, 1000) == digest(1000)
                scene.learn(client.program, ROLE)
                pt_of(client.program).kill()
                read_until_reset(sock)
        ask_status(client.program)


def comes_from_elsewhere(process: psutil.Process, port: int) -> bool:
    """Whether another machine is connected to that port, where the process lives.

    A server itself connects to its PT's port once, to see that it is there.
    """
    lines = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
    for _, ours, theirs, state, *_ in map(str.split, lines):
        (here, at), there = ours.split(":"), theirs.partition(":")[0]
        if (int(at, 16), state) == (port, ESTABLISHED) and here != there:
            return True
    return False


@mishap(ROLE)
def a_client_has_the_cert_of_another_server(scene: Scene) -> None:
    cert = base64.b64encode(os.urandom(52)).decode().rstrip("=")
    scene.needles.add(cert)
    server = scene.start_server(f"transport=obfs4;exec={OBFS4PROXY}")
    server.options()
    pt = pt_of(server.program)
    options = f"transport=obfs4;exec={OBFS4PROXY};cert={cert};iat-mode=0"
    client = scene.start_client(options, SERVER, server.port)
    with client.connect() as sock:
        sock.sendall(b"GIVE 1\n")
        wait_until(
            lambda: comes_from_elsewhere(pt, server.port), "a connection at the server"
        )
        # It would not answer for a minute; now it never will.
        assert server.program.stop() == 0
        read_until_reset(sock)
    ask_status(client.program)


@mishap(ROLE)
def a_pt_does_not_take_the_arguments(scene: Scene) -> None:
    _all_fail(
        [
            scene.start_client(f"transport=obfs4;exec={pt};cert={WORD};iat-mode=0")
            for pt in (OBFS4PROXY, LYREBIRD)
        ]
        + [
            scene.start_client(f"transport=scramblesuit;exec={pt};password={WORD}")
            for pt in (OBFS4PROXY, LYREBIRD)
        ]
    )


@mishap(ROLE)
def a_server_does_not_take_the_password(scene: Scene) -> None:
    port = scene.far_end(closes).port
    options = f"transport=scramblesuit;password={BASE32_WORD};exec={OBFS4PROXY}"
    _all_fail([scene.start_client(options, SERVER, port)])


@mishap(ROLE)
def a_server_refuses_at_each_kind_of_address(scene: Scene) -> None:
    remotes = (
        f"{SERVER}|{SERVER_6}|{SERVER_NAME}",
        "2001:DB8:113:0:0:0:0:20",
        f"{SERVER_NAME.upper()}.",
        IDN_UNICODE,
    )
    _all_fail([scene.start_client(OBFS3, remote, 4711) for remote in remotes])


@mishap(ROLE)
def a_server_cannot_be_reached(scene: Scene) -> None:
    _all_fail([scene.start_client(OBFS3, f"{UNREACHABLE}|{SILENT}")])


@mishap(ROLE)
def a_server_is_silent(scene: Scene) -> None:
    far_end = scene.far_end(holds_on, SERVER_6)
    client = scene.start_client(OBFS3, SERVER_6, far_end.port)
    with client.connect() as sock:
        sock.sendall(b"GIVE 1\n")
        if scene.how.level == "error":
            assert far_end.called.wait(DEADLINE)
        else:
            client.program.wait_for("no answer to a connection in")
        ask_status(client.program)


@mishap(ROLE)
def a_server_ends_the_connection_before_a_byte(scene: Scene) -> None:
    _all_fail(
        [
            scene.start_client(OBFS3, SERVER_NAME, scene.far_end(answer).port)
            for answer in (resets, closes)
        ]
    )


@mishap(ROLE)
def a_name_does_not_resolve(scene: Scene) -> None:
    remotes = (NO_NAME, f"{NO_NAME.upper()}.")
    _all_fail([scene.start_client(OBFS3, remote) for remote in remotes])


# -- the user's proxy ------------------------------------------------------------------


@mishap(ROLE)
def a_proxy_refuses(scene: Scene) -> None:
    """At once; the password, in two protocols; and to go on to the server."""
    answers: tuple[tuple[str, Answer], ...] = (
        ("socks5", resets),
        ("socks5", says(SOCKS5_ASKS, SOCKS5_REFUSES)),
        ("socks5", says(SOCKS5_ASKS, SOCKS5_TAKES, SOCKS5_CANNOT)),
        ("http", says(NOT_ALLOWED.encode())),
    )
    options = [
        proxy(scene.far_end(answer, PROXY).port, scheme) for scheme, answer in answers
    ]
    options += [proxy(9), proxy(9, host=PROXY)]
    _all_fail([scene.start_client(f"{OBFS3};{option}", NO_NAME) for option in options])


@mishap(ROLE, tells=True)
def a_proxy_refuses_what_tells_of_it(scene: Scene) -> None:
    """Lyrebird's webtunnel logs what becomes of each connection."""
    far_end = scene.far_end(says(NOT_ALLOWED.encode()), PROXY)
    options = f"transport=webtunnel;exec={LYREBIRD};url=https://{NO_NAME}{PATH}"
    _all_fail(
        [
            scene.start_client(f"{options};{proxy(port, 'http')}", NO_NAME)
            for port in (far_end.port, 9)
        ]
    )


@mishap(ROLE)
def a_proxy_cannot_be_used(scene: Scene) -> None:
    """Its name does not resolve, its URL is broken, the PT takes none."""
    broken = f"upstream-proxy=socks5://{USER}:%zz{WORD}@{PROXY_NAME}:1080"
    url = f"transport=webtunnel;exec={WEBTUNNEL_CLIENT};url=https://{NO_NAME}{PATH}"
    options = [
        f"{OBFS3};{proxy(1080, host=NO_NAME)};start-timeout=1",
        f"{OBFS3};{broken}",
        f"transport=obfs3;exec={LYREBIRD};{broken}",
        f"{url};{proxy(1080)}",
    ]
    for client in [scene.start_client(option) for option in options]:
        client.fails()


# -- other transports ------------------------------------------------------------------


def _certificate(folder: str) -> ssl.SSLContext:
    """Create one for a name that nobody has asked for, where the client trusts it."""
    key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
    subprocess.run(
        [
            *(find("openssl"), "req", "-x509", "-nodes", "-days", "1"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=stork.example"),
            *("-addext", "subjectAltName=DNS:stork.example,DNS:*.stork.example"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@mishap(ROLE, tells=True)
def a_webtunnel_server_has_another_name(scene: Scene) -> None:
    """In its certificate, which is trusted, or not."""
    folder = str(scene.client.folder)
    context = _certificate(folder)

    def shakes_hands(sock: socket.socket) -> None:
        with context.wrap_socket(sock.dup(), server_side=True) as connection:
            connection.recv(1)

    far_end = scene.far_end(shakes_hands)
    plain = scene.variables(scene.client)
    trusting = {**plain, "SSL_CERT_FILE": f"{folder}/certificate.pem"}
    url = f"url=https://{FRONT_NAME}:{far_end.port}{PATH}"
    _all_fail(
        [
            scene.start_client(
                f"transport=webtunnel;exec={pt};{url}", variables=variables
            )
            for pt in (LYREBIRD, WEBTUNNEL_CLIENT)
            for variables in (plain, trusting)
        ]
    )


@mishap(ROLE, tells=True)
def a_webtunnel_server_is_none(scene: Scene) -> None:
    """It answers with what it was asked for, or is not there."""
    answer = f"Oops: {SERVER_NAME} {PATH} {CLIENT}\r\n\r\n"
    port = scene.far_end(says(answer.encode())).port
    url = f"http://{SERVER_NAME}:{port}{PATH}"
    arguments = (
        f"url={url}",
        f"url={url}%zz",
        f"url=https://[{SERVER_6}]:4711{PATH}",
        f"url=https://{NO_NAME}{PATH}",
        f"url={url};addr={NO_NAME}:4711",
        f"url={url};addr={NO_NAME}",
    )
    _all_fail(
        [
            scene.start_client(f"transport=webtunnel;exec={LYREBIRD};{each}")
            for each in arguments
        ]
        + [
            scene.start_client(f"transport=webtunnel;exec={WEBTUNNEL_CLIENT};{each}")
            for each in arguments[:4]
        ]
    )


@mishap(ROLE)
def a_front_or_a_broker_is_none(scene: Scene) -> None:
    """PTs that try again and again, until they are stopped."""
    for transport, pt in (
        ("meek_lite", OBFS4PROXY),
        ("meek_lite", LYREBIRD),
        ("snowflake", "snowflake-client"),
        ("snowflake", LYREBIRD),
    ):
        far_end = scene.far_end(closes)
        options = (
            f"transport={transport};exec={pt};front={FRONT_NAME}:{far_end.port};"
            f"url=https://{SERVER_NAME}:{far_end.port}{PATH}/"
        )
        if transport == "snowflake":
            options += f";ice=stun:{NO_NAME}:3478"
        client = scene.start_client(options)
        with client.connect() as sock:
            sock.sendall(b"GIVE 1\n")
            assert far_end.called.wait(DEADLINE)
            ask_status(client.program)


# -- what keeps a client from starting -------------------------------------------------


@mishap(ROLE, settings=USUAL)
def a_client_cannot_listen(scene: Scene) -> None:
    """The port is in use, the address is not ours, the name does not resolve."""
    places = [(CLIENT, free_port()), (SERVER, free_port()), (NO_NAME, free_port())]
    with scene.at(scene.client):
        holder = socket.create_server(places[0])
    with holder:
        clients = [scene.start_client(OBFS3, local=place) for place in places]
        assert [client.program.wait() for client in clients] == [74, 74, 74]


BROKEN_OPTIONS = (
    "",
    CERT,
    f"transport={CERT}",
    f"transport=obfs4;{CERT}",
    f"transport=obfs4;cert={CERT}",
    f"transport=obfs4;cert={CERT};iat-mode=0;transport=obfs4",
    f"transport=obfs4;cert={CERT};iat-mode",
    f"transport=obfs4;cert={CERT};iat-mode=0;={WORD}",
    f"transport=obfs4;cert={CERT}\\",
    f"transport=obfs4;cert={CERT}\n;iat-mode=0",
    f"transport=obfs4;cert={CERT}\u00fc;iat-mode=0",
    f"transport=obfs4;crt={CERT};iat-mode=0",
    f"transport=scramblesuit;password={WORD};{WORD};password=a",
    f"transport=scramblesuit;pasword={WORD}",
    f"transport=obfs3;upstream-proxy=socks9://{USER}:{WORD}@{PROXY_NAME}:1080",
    f"transport=obfs3;upstream-proxy=socks5://{USER}@{PROXY_NAME}:1080",
    f"transport=obfs3;upstream-proxy=socks5://{USER}:{WORD}@{PROXY_NAME}",
    f"transport=obfs3;upstream_proxy=socks5://{USER}:{WORD}@{PROXY_NAME}:1080",
    f"transport=obfs3;upstream-proxy=socks5://{USER}:{WORD};{WORD}@{PROXY_NAME}:1",
    f"transport=obfs3;state=/{WORD}",
    f"bridge=obfs4 {SERVER}:443 {NODE_ID} cert={CERT} {WORD}",
    f"bridge=obfs4 {SERVER}:443 {NODE_ID} cert={CERT};transport=obfs4",
    f"bridge=obfs4 {SERVER}443 {NODE_ID} cert={CERT} iat-mode=0",
    f"transport=obfs3;hold={WORD}",
    f"transport=obfs3;session={WORD}",
    f"transport=obfs3;upstream-proxy=socks4://{WORD}@{PROXY_NAME}:1080",
    f"transport=obfs3;linger={WORD}",
    f"transport=obfs3;restarts={WORD}",
    f"transport=obfs3;a={WORD}{'b' * 509}",
)


@mishap()
def a_clients_options_are_broken(scene: Scene) -> None:
    clients = [scene.start_client(options) for options in BROKEN_OPTIONS]
    assert {client.program.wait() for client in clients} == {65}


BROKEN_TEXTS = (
    f"obfs4 {SERVER}:443 {NODE_ID} cert={CERT} {WORD}",
    f"obfs4 {SERVER}:443 cert={CERT}\u00fc",
    f"ss://{WORD}@{SERVER_NAME}:443x/?plugin={WORD}",
    f"ss://{WORD}@{SERVER}:443/?plugin=pt-bridge%3Btransport%3Dobfs4%3B{WORD}",
    f'{{"server": "{SERVER_NAME}", "password": "{WORD}", "plugin_opts": "{WORD}"',
    f'{{"server": "{SERVER_NAME}", "password": "{WORD}", "server_port": "{WORD}"}}',
    f"transport=obfs4;cert={CERT}",
)


@mishap()
def a_text_cannot_be_converted(scene: Scene) -> None:
    programs = [
        scene.client.start("pt-bridge", "convert", text, "--to", form)
        for text in BROKEN_TEXTS
        for form in ("link", "bridge")
    ]
    assert 0 not in {program.wait() for program in programs}


@mishap()
def a_clients_addresses_are_broken(scene: Scene) -> None:
    hosts = (
        f"{SERVER}:80",
        f"[{SERVER_6}",
        f"{SERVER_6}%wire",
        f"{NO_NAME}..",
        "0x1.1",
    )
    clients = [scene.start_client(OBFS3, host) for host in hosts]
    clients += [
        scene.start_client(OBFS3, local=(host, free_port())) for host in hosts[3:]
    ]
    assert {client.program.wait() for client in clients} == {64}


# -- PTs that misbehave ----------------------------------------------------------------

# So that all of `filth` is among what they know.
FAKE_OPTIONS = (
    f"transport=obfs4;exec={OBFS4PROXY};cert={CERT};iat-mode=0;password={WORD};"
    f"url=https://{FRONT_NAME}{PATH}"
)
FAKE_REMOTE = f"{SERVER_NAME}.|{IDN_UNICODE}"


def _logged(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'say LOG SEVERITY=error MESSAGE="{quoted}"'


def _start_fake(scene: Scene, *steps: str, options: str = "") -> tuple[Client, FakePt]:
    fake, variables = scene.fake_pt(scene.client, *steps)
    options = f"{FAKE_OPTIONS}{options}"
    return scene.start_client(options, FAKE_REMOTE, variables=variables), fake


@mishap(ROLE, settings=USUAL, tells=True)
def a_pt_writes_all_that_it_knows(scene: Scene) -> None:
    """In the log and on both pipes, before it is ready and after, and then dies."""
    early = [line for text in filth() for line in (f"write {text}", f"say {text}")]
    late = [line for text in filth() for line in (_logged(text), f"write {text}")]
    status = f'say STATUS TYPE=version IMPLEMENTATION="{CERT}" VERSION="{SERVER}"'
    client, fake = _start_fake(
        scene,
        *(*early, "say VERSION 1", status, "client", "say CMETHODS DONE"),
        *(*late, "tell wrote", "await"),
        *(f"write the last words: {CERT} {SERVER}", "die 11"),
    )
    fake.event("wrote")
    with client.connect() as sock:
        sock.sendall(b"GIVE 1\n")
        ask_status(client.program)
        scene.learn(client.program, ROLE)
        fake.open_gate()
        read_until_reset(sock)


@mishap(ROLE, settings=USUAL, tells=True)
def a_pt_writes_control_characters(scene: Scene) -> None:
    """And addresses beside them."""
    raw = r"\x1b[31mX\x07\x1b]0;title\x07\x9b2J\x00\r"
    raw += r"\x80198.51.100.10 \xff2001:db8:51::10\n"
    logged = r"\033[31m\x07\r\n\302\205\342\200\256198.51.100.10"
    client, _ = _start_fake(
        scene,
        f"raw {raw}",
        *("say VERSION 1", "client", "say CMETHODS DONE"),
        f'say LOG SEVERITY=error MESSAGE="{logged}"',
        f"raw LOG SEVERITY=error MESSAGE=X{raw}",
    )
    client.fails()
    ask_status(client.program)


REFUSALS = (
    "say ENV-ERROR {}",
    "say VERSION-ERROR {}",
    "say VERSION {}",
    "say VERSION 1\nsay CMETHOD-ERROR obfs4 {}\nsay CMETHODS DONE",
    "say VERSION 1\nsay PROXY-ERROR {}",
    f"say VERSION 1\nsay CMETHOD obfs4 socks5 {SERVER}:443",
    "say VERSION 1\nsay CMETHOD obfs4 {} 127.0.0.1:1",
    "say VERSION 1\nsay CMETHOD obfs4 socks5 {}",
    "write {}\nexit 3",
    "say {}",
    "say CMETHOD {}",
)


@mishap(ROLE, settings=USUAL, tells=True)
def a_pt_does_not_start(scene: Scene) -> None:
    """And says why, in words that nobody must see."""
    words = f"{SERVER} cert={CERT};password={WORD} [{SERVER_6}] {SERVER_NAME}"
    clients = [
        _start_fake(
            scene,
            *steps.format(words).split("\n"),
            options=f";start-timeout={START_TIMEOUT}",
        )[0]
        for steps in REFUSALS
    ]
    assert {client.program.wait() for client in clients} <= {69, 75, 76}


@mishap(ROLE, settings=USUAL, tells=True)
def a_pt_keeps_dying(scene: Scene) -> None:
    """Until pt-bridge has enough of it."""
    client, _ = _start_fake(
        scene,
        *("say VERSION 1", "client", "say CMETHODS DONE"),
        f"write cert={CERT} {WORD} {SERVER} {SERVER_NAME}",
        "exit 1",
        options=";restarts=1",
    )
    assert client.program.wait() == 75
