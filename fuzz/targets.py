"""The table of targets: a parser is fuzzed by a line here.

``scripts/fuzz`` gives each of them inputs that grow out of its corpus by what they
reach in pt-bridge, and ``tests/protocol/test_mutation.py`` some thousands that are
merely broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz import parsers, ports
from fuzz.target import KIB, parser
from pt_bridge.config import HOST_OPTIONS
from pt_bridge.errors import (
    ConfigError,
    OptionsError,
    OwnerFileError,
    ProtocolError,
    TransportError,
    UsageError,
)
from pt_bridge.own_options import HOLDS, LOG_LEVELS, OPTIONS, PROXY_SCHEMES
from pt_bridge.protocol.messages import MAX_LINE
from pt_bridge.protocol.ss_config import ALIASES, KEYS
from pt_bridge.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from fuzz.target import Target

# Bytes that mean something to one of the grammars.
TELLING = b"\\=;:,|[]%./@+-_ \t\r\n\v\0\x7f\x80\xc3\xff\"'#0159aAxX"

PAIRS = [
    b"cert\nAAAA+/==\niat-mode\n0",
    b"url\nhttps://e.example/p?a=b;c\\d\nserver\n\nk=\\;:\n\n",
    b"",
]
SOCKS5_REQUESTS = [
    b"\5\1\0\1\x7f\0\0\1\0\x50",
    b"\5\1\0\4" + bytes(18),
    b"\5\1\0\3\x09a.example\0\x50",
]
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
TORRCS = [
    b"ClientTransportPlugin a,b exec /x -y \\\r\n# z\n-v\n%include x y\n",
    rb'+servertransportplugin "a exec /\x41\101 \"b\" \n" # c',
    b"AllowPluginOption state\n\n# d\nAllowPluginOption unsafe-logging",
]
PT_CONFIG = (
    rb'{"recommendedDefault": "obfs4", "pluggableTransports": {"\u00e9": "", "a": '
    rb'"ClientTransportPlugin meek_lite,obfs4 exec ${pt_path}a"}}'
)
SERVER_OPTIONS = (
    b"server;transport=webtunnel;url=https://e/p?a=b;loglevel=error;logfile=a/b;"
    b"hold=none;restarts=0;start-timeout=5;arg-x="
)

CONFIG_WORDS = [
    word.encode("ascii")
    for word in (
        *HOST_OPTIONS,
        *OPTIONS,
        *HOLDS,
        *LOG_LEVELS,
        *PROXY_SCHEMES,
        *TRANSPORTS,
    )
]
JSON_WORDS = [word.encode("ascii") for word in (*KEYS, *ALIASES, "servers")]
JSON_WORDS += [b"null", b"true", b"1e999", b"NaN", b"\\ud800", b"\\u0000"]

PARSERS = (
    parser(
        "address.parse_port",
        parsers.read_port,
        (ProtocolError,),
        [b"1", b"8388", b"65535", b"00080"],
    ),
    parser(
        "address.parse_host",
        parsers.read_host,
        (ProtocolError,),
        [b"192.0.2.1", b"[2001:db8::1]", b"::ffff:1.2.3.4", "bücher.example".encode()],
    ),
    parser(
        "address.parse_hosts",
        parsers.read_hosts,
        (ProtocolError,),
        [b"127.0.0.1|127.0.0.2|localhost", b"::1|127.0.0.1", b"0.0.0.0|[::]"],
    ),
    parser(
        "address.parse_host_port",
        parsers.read_host_port,
        (ProtocolError,),
        [b"192.0.2.1:80", b"[::1]:8388", b"a.example:1"],
    ),
    parser(
        "address.parse_endpoint",
        parsers.read_endpoint,
        (ProtocolError,),
        [b"127.0.0.1:19999", b"[::1]:8388"],
    ),
    parser(
        "args.decode_server",
        parsers.read_server_arguments,
        (ProtocolError,),
        [b"cert=AAAA,iat-mode=0", rb"k\=1=v\,2,url=https://e/?a\=b", b"", b"a=,b=\\x"],
    ),
    parser(
        "args.encode_client", parsers.write_client_arguments, (ProtocolError,), PAIRS
    ),
    parser("backoff.Backoff", parsers.back_off, (), [b"\x05\0\0\x3d\xff\0\1\2\3"]),
    parser(
        "bridge_line.parse",
        parsers.read_bridge_line,
        (ProtocolError,),
        [
            BRIDGE_LINE,
            "\ufeff\u201cwebtunnel\u00a0[2001:db8::1]:443\turl=u\u201d\r\n".encode(),
        ],
    ),
    parser(
        "bridge_line.BridgeLine",
        parsers.write_bridge_line,
        (ProtocolError,),
        [b"obfs4\n192.0.2.1:1\n" + bytes(20).hex().encode() + b"\ncert\nA=\nb\n"],
    ),
    parser(
        "closing.Closing",
        parsers.close,
        (),
        [bytes([0, 1, 4, 6]), bytes([16, 1, 3, 4, 7, 2, 5])],
    ),
    parser(
        "config.Config",
        parsers.configure,
        (ConfigError,),
        [
            b"192.0.2.1\n8388\n127.0.0.1\n1984\ntransport=obfs4;cert=A;iat-mode=0",
            b"a.example|::1\n1\n::1\n2\n" + CLIENT_OPTIONS,
            b"0.0.0.0|::\n1\n::1\n2\n" + SERVER_OPTIONS,
            b"192.0.2.1\n8388\n127.0.0.1\n1984\nidle=1;bridge=" + BRIDGE_LINE,
        ],
        words=CONFIG_WORDS,
    ),
    parser(
        "config.Config, from a server's line",
        parsers.read_client_line,
        (),
        PAIRS,
        words=CONFIG_WORDS,
    ),
    parser(
        "config.variables_from_flags",
        parsers.configure_by_hand,
        (UsageError,),
        [b"127.0.0.1:1984 192.0.2.1:8388", b"[::1]:1 a.example|[::1]:2"],
    ),
    parser(
        "environment.server",
        parsers.make_environments,
        (),
        [
            b"PATH=/bin\nLC_ALL=C\nSS_LOCAL_HOST=::1\nTOR_PT_PROXY=x\nhttp_proxy=",
            *PAIRS,
        ],
    ),
    parser(
        "extorport.accept",
        parsers.extorport_accepted,
        (ProtocolError,),
        [parsers.KNOWS_THE_COOKIE + commands for commands in EXTORPORT_COMMANDS],
    ),
    parser(
        "extorport.accept, the commands",
        parsers.extorport_accepted_with_the_cookie,
        (ProtocolError,),
        EXTORPORT_COMMANDS,
    ),
    parser(
        "forms.read",
        parsers.convert,
        (OptionsError,),
        [*LINKS[:2], CONFIGURATION, BRIDGE_LINE, CLIENT_OPTIONS, SERVER_OPTIONS],
        words=CONFIG_WORDS,
        longest=8 * KIB,  # for it is read some ten times
    ),
    parser(
        "http_connect.connect",
        parsers.http_connected,
        (ProtocolError,),
        [
            b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n",
            b"HTTP/1.0 200\n\n",
        ],
    ),
    parser(
        "launch.Launch, of a client",
        parsers.launch_a_client,
        (ProtocolError, TransportError),
        SESSIONS,
    ),
    parser(
        "launch.Launch, of a server",
        parsers.launch_a_server,
        (ProtocolError, TransportError),
        SESSIONS,
    ),
    parser(
        "messages.LineBuffer",
        parsers.read_lines,
        (),
        [b"VERSION 1\r\nCMETHODS DONE\n\nLOG \0\xff\nno end", b"\n\n\n", b"x" * 99],
        longest=MAX_LINE + KIB,
    ),
    parser(
        "messages.parse",
        parsers.read_line,
        (ProtocolError,),
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
    parser(
        "messages.parse_pairs",
        parsers.read_pairs,
        (),
        [
            rb'MESSAGE="parse \042://bad\134\042q" B=c',
            rb'A="\n\r\t\x41\X42\101\\\"" B= C="d e"',
            'SEVERITY=info MESSAGE="é"'.encode(),
        ],
    ),
    parser(
        "options.parse",
        parsers.read_options,
        (OptionsError,),
        [
            rb"a=1;b\;c=x\=y\\z;;f;k=p==;",
            b"transport=obfs4;cert=AAAA;iat-mode=0",
            b"server;transport=webtunnel;url=https\\://e.com/p?a=b\\;c",
            "__android_vpn=;arg-x=é".encode(),
        ],
    ),
    parser("options.serialize", parsers.write_options, (), PAIRS),
    parser(
        "pasted.unquoted",
        parsers.read_pasted,
        (),
        ["\u00a0\u201ea \u00adb\u201d,\n".encode(), b"' \"x\"'", b"y"],
    ),
    parser(
        "profile.Profile",
        parsers.write_profile,
        (ProtocolError,),
        [
            b"192.0.2.1\n8388\naes-256-gcm\nsecret\npt-bridge\ntransport=t;k=v\nname",
            "::1\n1\n2022-x\nüß@/:\n/usr/bin/x-y\n\n#?".encode(),
        ],
    ),
    parser(
        "scrubber.Scrubber",
        parsers.scrub,
        (),
        [
            b"AAAA+/==\ndial tcp 192.0.2.1:443: refused",
            b"https://e.example/path\n[2001:db8::1]:443 12:30:59 password=x ://u:p@h/",
        ],
        shares=4,  # it takes milliseconds to learn a secret
    ),
    parser(
        "socks4.connect",
        parsers.socks4_with_arguments,
        (ProtocolError,),
        [b"\0\x5a" + bytes(6)],
    ),
    parser(
        "socks5.connect, with arguments",
        parsers.socks5_with_arguments,
        (ProtocolError,),
        [b"\5\2\1\0\5\0\0\1\0\0\0\0\0\0", b"\5\2\1\0\5\0\0\3\x09a.example\0\0"],
    ),
    parser(
        "socks5.connect, without arguments",
        parsers.socks5_without_arguments,
        (ProtocolError,),
        [b"\5\0\5\0\0\4" + bytes(18), b"\5\0\5\0\0\1" + bytes(6)],
    ),
    parser(
        "socks5_server.accept",
        parsers.socks5_served,
        (ProtocolError,),
        [parsers.SOCKS5_PROOF + request for request in SOCKS5_REQUESTS],
    ),
    parser(
        "socks5_server.accept, the request",
        parsers.socks5_served_the_user,
        (ProtocolError,),
        SOCKS5_REQUESTS,
    ),
    parser(
        "socks5_server.accept, of our own client",
        parsers.socks5_to_ourselves,
        (ProtocolError,),
        [b"192.0.2.1:80", b"[2001:db8::1]:443", b"a.example:1"],
    ),
    parser(
        "ss_config.parse",
        parsers.read_ss_config,
        (ProtocolError,),
        [CONFIGURATION, b'{"servers": [{"address": "a.b", "port": "1"}]}'],
        words=JSON_WORDS,
    ),
    parser("ss_link.parse", parsers.read_ss_link, (ProtocolError,), LINKS),
    parser(
        "torrc.parse, our own",
        parsers.read_torrc,
        (OwnerFileError,),
        TORRCS,
    ),
    parser(
        "torrc.parse, another's",
        parsers.read_included_torrc,
        (OwnerFileError,),
        TORRCS,
    ),
    parser(
        "torrc.parse_pt_config",
        parsers.read_pt_config,
        (OwnerFileError,),
        [PT_CONFIG],
    ),
)
# The loopback servers, over real connections: what their callers say.
PORTS = (
    ports.target("orport.OrPort", ports.ExtendedOrPort, EXTORPORT_COMMANDS),
    ports.target(
        "socks_proxy.SocksProxy",
        ports.Socks5Proxy,
        [ports.Socks5Proxy.good, *SOCKS5_REQUESTS],
    ),
)
TARGETS = (*PARSERS, *PORTS)


def without(modules: Iterable[str], targets: Collection[Target]) -> set[str]:
    """Give those of some modules that none of the targets is a way into."""
    return set(modules) - {target.module for target in targets}
