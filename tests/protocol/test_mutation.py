"""Whatever bytes go in, only the exceptions of pt_bridge.errors come out.

Valid inputs are broken at random, some thousands for each way into the pure modules.
The randomness is seeded, so that a failure, which names its seed and its input, happens
again; another seed is one more number in `SEEDS`.
"""

from __future__ import annotations

import hmac
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pt_bridge import forms
from pt_bridge.config import Config, variables_from_flags
from pt_bridge.errors import (
    ConfigError,
    OptionsError,
    OwnerFileError,
    ProtocolError,
    PtBridgeError,
    TransportError,
    UsageError,
)
from pt_bridge.protocol import (
    bridge_line,
    extorport,
    http_connect,
    socks4,
    socks5,
    socks5_server,
    ss_config,
    ss_link,
)
from pt_bridge.protocol.address import (
    Address,
    parse_endpoint,
    parse_host,
    parse_host_port,
    parse_hosts,
    parse_port,
)
from pt_bridge.protocol.args import MAX_ARGUMENTS, decode_server
from pt_bridge.protocol.launch import Launch
from pt_bridge.protocol.messages import LineBuffer, parse, parse_pairs
from pt_bridge.protocol.options import parse as parse_options
from pt_bridge.protocol.options import serialize
from pt_bridge.protocol.torrc import parse as parse_torrc
from pt_bridge.protocol.torrc import parse_pt_config

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from pt_bridge.protocol.socks5 import Ask

SEEDS = (1, 2, 3)
AT_LEAST = 60_000
# Bytes that mean something to one of the grammars.
TELLING = b"\\=;:,|[]%./@+-_ \t\r\n\v\0\x7f\x80\xc3\xff\"'#0159aAxX"


class Entry(NamedTuple):
    """One way into the pure modules.

    Attributes:
        name: what it is called in a failure.
        read: gives it the bytes as the program would.
        may_raise: all that may come out of it.
        inputs: how many broken inputs it is given, for each seed.
        corpus: inputs that it takes without an error.
    """

    name: str
    read: Callable[[bytes], object]
    may_raise: tuple[type[PtBridgeError], ...]
    inputs: int
    corpus: Sequence[bytes]


def as_variable(data: bytes) -> str:
    """Decode as the environment and the command line are (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def as_printed(data: bytes) -> str:
    """Decode as what a PT prints."""
    return data.decode("utf-8", "backslashreplace")


def read_options(data: bytes) -> None:
    """Parse options; what was parsed is written, and read, as the same."""
    pairs = [(option.key, option.value) for option in parse_options(data)]
    again = parse_options(serialize(pairs).encode("utf-8", "surrogateescape"))
    assert [(option.key, option.value) for option in again] == pairs


def read_lines(data: bytes) -> None:
    """Cut a stream into lines, in pieces of any size: they are always the same."""
    whole = LineBuffer().receive_data(data)
    for size in (1, 3, 64):
        buffer = LineBuffer()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [line for each in pieces for line in buffer.receive_data(each)] == whole
    assert all(b"\n" not in line for line in whole)


def launch(data: bytes, *, server: bool) -> None:
    """Let a PT print a session, and end."""
    start = Launch("lyrebird", "obfs4", server=server, proxy=not server)
    for line in LineBuffer().receive_data(data):
        start.receive(parse(line))
    assert isinstance(start.ended("ended", "last words"), TransportError)


def launch_a_client(data: bytes) -> None:
    launch(data, server=False)


def launch_a_server(data: bytes) -> None:
    launch(data, server=True)


def shake_hands(handshake: Generator[Ask, bytes, object], script: bytes) -> None:
    """Run a handshake as far as what the other side says goes."""
    try:
        ask = next(handshake)
        while len(script) >= ask.read:
            answer, script = script[: ask.read], script[ask.read :]
            ask = handshake.send(answer)
    except StopIteration:
        return


def socks5_with_arguments(data: bytes) -> None:
    shake_hands(socks5.connect(Address("a.example", 443), b"cert=AAAA"), data)


def socks5_without_arguments(data: bytes) -> None:
    shake_hands(socks5.connect(Address("2001:db8::1", 443), b""), data)


def socks4_with_arguments(data: bytes) -> None:
    shake_hands(socks4.connect(Address("192.0.2.3", 443), b"cert=AAAA"), data)


def http_connected(data: bytes) -> None:
    shake_hands(http_connect.connect(Address("a.example", 443), (b"u", b"p")), data)


def socks5_served(data: bytes) -> None:
    shake_hands(socks5_server.accept(user=b"u", password=b"p"), data)


def socks5_served_the_user(data: bytes) -> None:
    socks5_served(SOCKS5_USER + data)


def extorport_accepted(data: bytes) -> None:
    shake_hands(extorport.accept(cookie=bytes(32), nonce=bytes(32)), data)


def extorport_accepted_with_the_cookie(data: bytes) -> None:
    extorport_accepted(KNOWS_THE_COOKIE + data)


def configure(data: bytes) -> None:
    """Read SS_* out of five lines, in the order of SIP003 and the options last."""
    names = (b"REMOTE_HOST", b"REMOTE_PORT", b"LOCAL_HOST", b"LOCAL_PORT")
    *values, options = data.split(b"\n", 4)
    variables = dict(zip((b"SS_" + name for name in names), values, strict=False))
    config = Config({**variables, b"SS_PLUGIN_OPTIONS": options})
    assert config.remotes
    assert len(config.encoded_arguments) <= MAX_ARGUMENTS


def configure_by_hand(data: bytes) -> None:
    """Read the flags of the standalone commands."""
    local, _, remote = as_variable(data).partition(" ")
    variables = variables_from_flags(local=local, remote=remote, plugin_options="")
    with pytest.raises(OptionsError):
        Config(variables, plugin=False)


def read_bridge_line(data: bytes) -> None:
    """Read a bridge line; what was read is written, and read, as the same."""
    line = str(bridge_line.parse(as_variable(data)))
    assert str(bridge_line.parse(line)) == line


def read_link(data: bytes) -> None:
    """Read a link; what was read is written, and read, as the same."""
    link = ss_link.serialize(ss_link.parse(as_variable(data)))
    assert ss_link.serialize(ss_link.parse(link)) == link


def convert(data: bytes) -> None:
    """Read whatever of the four it is, and write all the others."""
    profile = forms.read(as_variable(data))
    for form in forms.FORMS:
        forms.write(profile, form)
        forms.notes(profile, form)


SOCKS5_USER = b"\5\2\0\2\1\1u\1p"
SOCKS5_REQUESTS = [
    b"\5\1\0\1\x7f\0\0\1\0\x50",
    b"\5\1\0\4" + bytes(18),
    b"\5\1\0\3\x09a.example\0\x50",
]
# The hash of the client's side, of 32 bytes of 0 each: cookie and both nonces.
KNOWS_THE_COOKIE = (
    b"\1"
    + bytes(32)
    + hmac.digest(
        bytes(32),
        b"ExtORPort authentication client-to-server hash" + bytes(64),
        "sha256",
    )
)
EXTORPORT_COMMANDS = [
    b"\0\1\0\x0d127.0.0.1:808\0\2\0\5obfs4\0\0\0\0",
    b"\0\2\0\4meek\0\1\0\x08[::1]:80\1\0\0\1x\0\0\0\2xx",
    b"\0\0\0\0",
]
SESSIONS = [
    b"VERSION 1\nPROXY DONE\nCMETHOD obfs4 socks5 127.0.0.1:3\nCMETHODS DONE\n",
    b"VERSION 1\nSMETHOD obfs4 [::]:1 ARGS:cert=A,b=c\nSMETHODS DONE\nLOG x\n",
    b"VERSION 1\nSTATUS TYPE=version IMPLEMENTATION=x\nCMETHOD-ERROR obfs4 no\n",
    b"hello\nVERSION 1\r\nSMETHOD-ERROR obfs4 no\n",
]
BRIDGE_LINE = (
    b"Bridge obfs4 192.0.2.1:8388 0BAC39417268B96B9F514E7F63FA6FBA1A788955 "
    b"cert=A iat-mode=0"
)
LINKS = [
    b"ss://YWVzLTEyOC1nY206dGVzdA@192.0.2.1:8388/?plugin=pt-bridge%3Btransport%3Dt#x",
    b"ss://2022-x:a%2Fb%3D@[::1]:1/?plugin=pt-bridge;bridge%3Dobfs3 [::1]:1;idle=5#b",
    b"ss://YWVzLTEyOC1nY206dGVzdEAxOTIuMC4yLjE6ODM4OA#old",
]
CONFIGURATION = (
    b'{"server": ["::1"], "server_port": 8388, "method": "none", "password": "\\u00fc"'
    b', "plugin": "pt-bridge", "plugin_opts": "transport=t;a=b\\\\;c", "x": [1, null]}'
)
CLIENT_OPTIONS = (
    b"transport=t;linger=1.5;idle=2;k=v;state=s;exec=lyrebird;__android_vpn=;"
    b"upstream-proxy=socks5://u:p@[::1]:1080"
)
SERVER_OPTIONS = (
    b"server;transport=webtunnel;url=https://e/p?a=b;loglevel=error;logfile=a/b;"
    b"hold=none;restarts=0;start-timeout=5;arg-x="
)
TORRCS = [
    b"ClientTransportPlugin a,b exec /x -y \\\r\n# z\n-v\n%include x y\n",
    rb'+servertransportplugin "a exec /\x41\101 \"b\" \n" # c',
    b"AllowPluginOption state\n\n# d\nAllowPluginOption unsafe-logging",
]
PT_CONFIG = (
    rb'{"recommendedDefault": "obfs4", "pluggableTransports": {"\u00e9": "", "a": '
    rb'"ClientTransportPlugin meek_lite,obfs4 exec ${pt_path}a"}}'
)
ENTRIES = [
    Entry(
        "options.parse",
        read_options,
        (OptionsError,),
        8_000,
        [
            rb"a=1;b\;c=x\=y\\z;;f;k=p==;",
            b"transport=obfs4;cert=AAAA;iat-mode=0",
            b"server;transport=webtunnel;url=https\\://e.com/p?a=b\\;c",
            "__android_vpn=;arg-x=é".encode(),
        ],
    ),
    Entry(
        "args.decode_server",
        lambda data: decode_server(as_printed(data)),
        (ProtocolError,),
        4_000,
        [b"cert=AAAA,iat-mode=0", rb"k\=1=v\,2,url=https://e/?a\=b", b"", b"a=,b=\\x"],
    ),
    Entry(
        "address.parse_port",
        lambda data: parse_port(as_variable(data)),
        (ProtocolError,),
        1_000,
        [b"1", b"8388", b"65535", b"00080"],
    ),
    Entry(
        "address.parse_host",
        lambda data: parse_host(as_variable(data)),
        (ProtocolError,),
        3_000,
        [b"192.0.2.1", b"[2001:db8::1]", b"::ffff:1.2.3.4", "bücher.example".encode()],
    ),
    Entry(
        "address.parse_hosts",
        lambda data: parse_hosts(as_variable(data)),
        (ProtocolError,),
        2_000,
        [b"127.0.0.1|127.0.0.2|localhost", b"::1|127.0.0.1", b"0.0.0.0|[::]"],
    ),
    Entry(
        "address.parse_host_port",
        lambda data: parse_host_port(as_variable(data)),
        (ProtocolError,),
        2_000,
        [b"192.0.2.1:80", b"[::1]:8388", b"a.example:1"],
    ),
    Entry(
        "address.parse_endpoint",
        lambda data: parse_endpoint(as_printed(data)),
        (ProtocolError,),
        2_000,
        [b"127.0.0.1:19999", b"[::1]:8388"],
    ),
    Entry(
        "messages.parse",
        parse,
        (ProtocolError,),
        4_000,
        [
            b"VERSION 1",
            b"CMETHOD trebuchet socks5 127.0.0.1:19999\r",
            b"SMETHOD webtunnel [2001:db8::1]:443 ARGS:url=https://e/a b,ver=0.0.7",
            b"SMETHOD-ERROR trebuchet no cows available",
            b"PROXY DONE",
            b'LOG SEVERITY=warning MESSAGE="broker failure \\042x\\042"',
            b'STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="devel"',
        ],
    ),
    Entry(
        "messages.parse_pairs",
        lambda data: parse_pairs(as_printed(data)),
        (),
        3_000,
        [
            rb'MESSAGE="parse \042://bad\134\042q" B=c',
            rb'A="\n\r\t\x41\X42\101\\\"" B= C="d e"',
            'SEVERITY=info MESSAGE="é"'.encode(),
        ],
    ),
    Entry(
        "messages.LineBuffer",
        read_lines,
        (),
        1_000,
        [b"VERSION 1\r\nCMETHODS DONE\n\nLOG \0\xff\nno end", b"\n\n\n", b"x" * 99],
    ),
    Entry(
        "launch.Launch, of a client",
        launch_a_client,
        (ProtocolError, TransportError),
        2_000,
        SESSIONS,
    ),
    Entry(
        "launch.Launch, of a server",
        launch_a_server,
        (ProtocolError, TransportError),
        2_000,
        SESSIONS,
    ),
    Entry(
        "socks5.connect, with arguments",
        socks5_with_arguments,
        (ProtocolError,),
        2_000,
        [b"\5\2\1\0\5\0\0\1\0\0\0\0\0\0", b"\5\2\1\0\5\0\0\3\x09a.example\0\0"],
    ),
    Entry(
        "socks5.connect, without arguments",
        socks5_without_arguments,
        (ProtocolError,),
        2_000,
        [b"\5\0\5\0\0\4" + bytes(18), b"\5\0\5\0\0\1" + bytes(6)],
    ),
    Entry(
        "socks4.connect",
        socks4_with_arguments,
        (ProtocolError,),
        1_000,
        [b"\0\x5a" + bytes(6)],
    ),
    Entry(
        "http_connect.connect",
        http_connected,
        (ProtocolError,),
        2_000,
        [
            b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n",
            b"HTTP/1.0 200\n\n",
        ],
    ),
    Entry(
        "socks5_server.accept",
        socks5_served,
        (ProtocolError,),
        2_000,
        [SOCKS5_USER + request for request in SOCKS5_REQUESTS],
    ),
    Entry(
        "socks5_server.accept, the request",
        socks5_served_the_user,
        (ProtocolError,),
        2_000,
        SOCKS5_REQUESTS,
    ),
    Entry(
        "extorport.accept",
        extorport_accepted,
        (ProtocolError,),
        2_000,
        [KNOWS_THE_COOKIE + commands for commands in EXTORPORT_COMMANDS],
    ),
    Entry(
        "extorport.accept, the commands",
        extorport_accepted_with_the_cookie,
        (ProtocolError,),
        4_000,
        EXTORPORT_COMMANDS,
    ),
    Entry(
        "torrc.parse, our own",
        lambda data: parse_torrc(data, "f"),
        (OwnerFileError,),
        3_000,
        TORRCS,
    ),
    Entry(
        "torrc.parse, another's",
        lambda data: parse_torrc(data, "f", included=True),
        (OwnerFileError,),
        3_000,
        TORRCS,
    ),
    Entry(
        "torrc.parse_pt_config",
        lambda data: parse_pt_config(data, "f"),
        (OwnerFileError,),
        3_000,
        [PT_CONFIG],
    ),
    Entry(
        "config.Config",
        configure,
        (ConfigError,),
        3_000,
        [
            b"192.0.2.1\n8388\n127.0.0.1\n1984\ntransport=obfs4;cert=A;iat-mode=0",
            b"a.example|::1\n1\n::1\n2\n" + CLIENT_OPTIONS,
            b"0.0.0.0|::\n1\n::1\n2\n" + SERVER_OPTIONS,
            b"192.0.2.1\n8388\n127.0.0.1\n1984\nidle=1;bridge=" + BRIDGE_LINE,
        ],
    ),
    Entry(
        "bridge_line.parse",
        read_bridge_line,
        (ProtocolError,),
        3_000,
        [
            BRIDGE_LINE,
            "\ufeff\u201cwebtunnel\u00a0[2001:db8::1]:443\turl=u\u201d\r\n".encode(),
        ],
    ),
    Entry("ss_link.parse", read_link, (ProtocolError,), 3_000, LINKS),
    Entry(
        "ss_config.parse",
        lambda data: ss_config.serialize(ss_config.parse(as_variable(data))),
        (ProtocolError,),
        3_000,
        [CONFIGURATION, b'{"servers": [{"address": "a.b", "port": "1"}]}'],
    ),
    Entry(
        "forms.read, and write",
        convert,
        (OptionsError, UsageError),
        2_000,
        [*LINKS[:2], CONFIGURATION],
    ),
    Entry(
        "config.variables_from_flags",
        configure_by_hand,
        (UsageError,),
        1_000,
        [b"127.0.0.1:1984 192.0.2.1:8388", b"[::1]:1 a.example|[::1]:2"],
    ),
]


def mutate(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Break one of the inputs in one to four places."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randint(1, 4)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.randint(0, 4))
        match rng.randrange(6):
            case 0:  # other bytes that mean something
                data[start:end] = rng.choices(TELLING, k=rng.randint(1, 3))
            case 1:  # any other bytes
                data[start:end] = rng.randbytes(end - start)
            case 2:  # a part is missing
                del data[start:end]
            case 3:  # a part stands there twice
                data[start:start] = data[start:end] * rng.randint(1, 3)
            case 4:  # the end is missing
                del data[start:]
            case _:  # another input's end
                other = rng.choice(corpus)
                data[start:] = other[rng.randint(0, len(other)) :]
    return bytes(data)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_inputs_that_are_broken_are_right_before(entry: Entry) -> None:
    """The check would be worth little if all of them were refused at once."""
    for data in entry.corpus:
        entry.read(data)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_only_our_own_errors_come_out(entry: Entry, seed: int) -> None:
    """PO-11, SE-10: the contract of the pure modules."""
    rng = random.Random(f"{entry.name}, seed {seed}")  # noqa: S311
    taken = refused = 0
    while taken + refused < entry.inputs:
        data = mutate(rng, entry.corpus)
        try:
            entry.read(data)
        except entry.may_raise:
            refused += 1
        except Exception as error:
            raise AssertionError(
                f"{entry.name}, seed {seed}, input {taken + refused}: {data!r}"
            ) from error
        else:
            taken += 1
    assert taken > entry.inputs // 50
    assert not entry.may_raise or refused > entry.inputs // 50


def test_there_are_enough_of_them() -> None:
    """A check that tries nothing would pass as well."""
    assert len(SEEDS) * sum(entry.inputs for entry in ENTRIES) >= AT_LEAST
    assert all(entry.inputs > 0 and entry.corpus for entry in ENTRIES)
