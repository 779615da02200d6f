"""The table of targets: a parser is fuzzed by a line here.

``scripts/fuzz`` gives each of them inputs that grow out of its corpus by what they
reach in pt-bridge, and ``tests/protocol/test_mutation.py`` some thousands that are
merely broken.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from fuzz import operator_files, parsers, ports, sessions, tor_callers
from fuzz.target import KIB, parser
from pt_bridge.errors import (
    ConfigError,
    OptionsError,
    OwnerFileError,
    ProtocolError,
    TransportError,
    UsageError,
)
from pt_bridge.formats.server_list import ALIASES, OWNERS
from pt_bridge.formats.ss_config import KEYS
from pt_bridge.options.option_values import LOG_LEVELS, ONLY
from pt_bridge.options.option_values import SESSIONS as SESSION_VALUES
from pt_bridge.options.own_options import OPTIONS
from pt_bridge.options.pt_arguments import SHADOWSOCKS_OPTIONS
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.options.upstream_proxy import PROXY_SCHEMES
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.ext_orport import OKAY
from pt_bridge.protocol.frames import (
    MAGIC,
    MAX_DATA,
    PREFACE,
    data_frame,
    data_header,
)
from pt_bridge.protocol.proxy_protocol import serialize
from pt_bridge.protocol.pt_messages import MAX_LINE
from tests.support import session_states

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
    b"cert=" + b"A" * 70 + b" iat-mode=0"
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
PASTED = (
    b"Your bridges:\n1. Bridge obfs3 192.0.2.1:1 \\\n a=b # c\n['ss://a@b:1#x']\n"
    b'user_pref("a", "obfs4 [::1]:1 cert=A");'
)
COMMAND = (
    b"$ sudo ss-local -s 192.0.2.1 -p8388 -k 'p w' --plugin pt-bridge "
    b'--plugin-opts "transport=obfs3" --acl /x &'
)
OTHER_CONFIGURATIONS = [
    b'{"configs": [{"server": "a", "server_port": 1}], "localPort": 1080}',
    b'{"outbounds": [{"protocol": "shadowsocks", "settings": {"servers": [{}]}}]}',
    b'{"proxies": [{"type": "ss", "cipher": "none", "plugin-opts": {}}]}',
]
CLIENT_OPTIONS = (
    b"transport=t;session=1;linger=1.5;idle=2;k=v;state=s;exec=lyrebird;__android_vpn=;"
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
    b"session=only;front=yes;restarts=0;start-timeout=5;arg-x="
)

PREFACES = [PREFACE, MAGIC[:7], MAGIC + b"\2", b"GET / HTTP/1.1"]
# What a peer may say in the first stream and the second, whatever has been said before.
FRAMES = [each(number) for each in session_states.FRAMES.values() for number in (1, 2)]
FRAMES += [data_header(MAX_DATA), data_frame(b"abc"), b"\x80\0\2\0"]
# The first byte is the state's number in the table.
PEERS = [
    bytes([number]) + session_states.FRAMES[name](number_of_stream)
    for number, (_, script, row) in enumerate(session_states.STATES)
    for number_of_stream in (script.count("OPEN"),)
    for name, meaning in zip(session_states.COLUMNS, row.split(), strict=True)
    if meaning == "x"
]
# Choices of two machines on a line, made at random once and for all.
LINES = [random.Random(seed).randbytes(300 + 60 * seed) for seed in range(20)]  # noqa: S311

TUNNELS = [
    (
        b"[[server]]\nname = 'a'\nlisten = ['0.0.0.0:443', '[::]:443']\n"
        b"service = '127.0.0.1:8388'\ntransport = 'obfs4'\nfront = true"
    ),
    (
        b"[[client]]\nname = 'b'\nlisten = '127.0.0.1:1'\nserver = '192.0.2.1:2'\n"
        b"plugin-opts = 'transport=obfs4'\narguments = {cert = 'x', iat-mode = 1}"
    ),
    (
        b"[log]\nlevel = 'debug'\nunsafe = true\n[metrics]\nlisten = '127.0.0.1:9100'\n"
        b"[[client]]\nname = 'c'\nlisten = '127.0.0.1:1'\nserver = 'a|b:2'"
    ),
]
PROXY_HEADERS = [
    serialize(source, Address("192.0.2.9", 443)) + b"behind"
    for source in (Address("192.0.2.1", 5), Address("2001:db8::1", 6), None)
]
CONFIG_WORDS = [
    word.encode("ascii")
    for word in (
        *SHADOWSOCKS_OPTIONS,
        *OPTIONS,
        *SESSION_VALUES,
        ONLY,
        *LOG_LEVELS,
        *PROXY_SCHEMES,
        *TRANSPORTS,
    )
]
JSON_WORDS = [
    word.encode("ascii")
    for word in (*KEYS, *ALIASES, *OWNERS, "servers", "type", "settings", "plugin-opts")
]
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
        "pt_args.decode_server",
        parsers.read_server_arguments,
        (ProtocolError,),
        [b"cert=AAAA,iat-mode=0", rb"k\=1=v\,2,url=https://e/?a\=b", b"", b"a=,b=\\x"],
    ),
    parser(
        "pt_args.encode_client", parsers.write_client_arguments, (ProtocolError,), PAIRS
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
        "config.Config",
        parsers.configure,
        (ConfigError,),
        [
            b"192.0.2.1\n8388\n127.0.0.1\n1984\ntransport=obfs4;cert="
            + b"A" * 70
            + b";iat-mode=0",
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
        "pt_environment.server",
        parsers.make_environments,
        (),
        [
            b"PATH=/bin\nLC_ALL=C\nSS_LOCAL_HOST=::1\nTOR_PT_PROXY=x\nhttp_proxy=",
            *PAIRS,
        ],
    ),
    parser(
        "excerpts.bridge_lines and links",
        parsers.find_excerpts,
        (),
        [BRIDGE_LINE, *LINKS, b"SMETHOD obfs4 0.0.0.0:1 ARGS:a=b,c=d", PASTED],
    ),
    parser(
        "ext_orport.accept",
        parsers.extorport_accepted,
        (ProtocolError,),
        [parsers.KNOWS_THE_COOKIE + commands for commands in EXTORPORT_COMMANDS],
    ),
    parser(
        "ext_orport.accept, the commands",
        parsers.extorport_accepted_with_the_cookie,
        (ProtocolError,),
        EXTORPORT_COMMANDS,
    ),
    parser(
        "geoip.Countries",
        operator_files.read_countries,
        (ProtocolError,),
        [
            b"# x\n16777216,16777471,AU\n3221225472,4294967295,??\n",
            b"2001:200::,2001:200:ffff::,JP\n2001:db8::,2001:db8::2,XX",
        ],
    ),
    parser(
        "ip_ranges.parse_networks",
        operator_files.read_networks,
        (ProtocolError,),
        [b"192.0.2.0/24 # x\n\n2001:db8::/32\r\n::ffff:1.2.3.4\n", b"# none"],
    ),
    parser(
        "tunnels_file.read",
        operator_files.read_tunnels,
        (OwnerFileError,),
        TUNNELS,
    ),
    parser(
        "proxy_protocol.parse",
        operator_files.read_proxy_header,
        (ProtocolError,),
        [*PROXY_HEADERS, b"PROXY TCP6 ::1 ::2 1 2\r\n", b"PROXY UNKNOWN\r\n"],
    ),
    parser(
        "ext_orport.announce",
        tor_callers.extorport_announced,
        (ProtocolError,),
        [tor_callers.KNOWN_BY_TOR + OKAY, tor_callers.KNOWN_BY_TOR + b"\x10\0\0\1x"],
    ),
    parser(
        "ext_orport.announce, the answer",
        tor_callers.extorport_announced_to_tor,
        (ProtocolError,),
        [OKAY, b"\x10\0\0\1x"],
    ),
    parser(
        "foreign.name_of and schemes",
        parsers.name_what_is_foreign,
        (),
        [b"ssr://x vmess://y", b"bridge:obfs4+1", b"CMETHOD a b", b"h = ss, a", PASTED],
    ),
    parser(
        "convert.read",
        parsers.convert_forms,
        (OptionsError,),
        [
            *(*LINKS[:2], CONFIGURATION, BRIDGE_LINE, CLIENT_OPTIONS, SERVER_OPTIONS),
            *(COMMAND, OTHER_CONFIGURATIONS[0]),
        ],
        words=CONFIG_WORDS,
        longest=8 * KIB,  # for it is read some ten times
    ),
    parser("frames.recognise", sessions.recognise_pieces, (), PREFACES),
    parser(
        "host_command.find and parse",
        parsers.read_host_command,
        (ProtocolError,),
        [COMMAND, b"sslocal --server-url ss://x -b [::1]:1 -c y"],
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
        "pt_launch.Launch, of a client",
        parsers.launch_a_client,
        (ProtocolError, TransportError),
        SESSIONS,
    ),
    parser(
        "pt_launch.Launch, of a server",
        parsers.launch_a_server,
        (ProtocolError, TransportError),
        SESSIONS,
    ),
    parser(
        "pt_messages.LineBuffer",
        parsers.read_lines,
        (),
        [b"VERSION 1\r\nCMETHODS DONE\n\nLOG \0\xff\nno end", b"\n\n\n", b"x" * 99],
        longest=MAX_LINE + KIB,
    ),
    parser(
        "pt_messages.parse",
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
        "pt_messages.parse_pairs",
        parsers.read_pairs,
        (),
        [
            rb'MESSAGE="parse \042://bad\134\042q" B=c',
            rb'A="\n\r\t\x41\X42\101\\\"" B= C="d e"',
            'SEVERITY=info MESSAGE="é"'.encode(),
        ],
    ),
    parser(
        "plugin_options.parse",
        parsers.read_options,
        (OptionsError,),
        [
            rb"a=1;b\;c=x\=y\\z;;f;k=p==;",
            b"transport=obfs4;cert=AAAA;iat-mode=0",
            b"server;transport=webtunnel;url=https\\://e.com/p?a=b\\;c",
            "__android_vpn=;arg-x=é".encode(),
        ],
    ),
    parser("plugin_options.serialize", parsers.write_options, (), PAIRS),
    parser(
        "quoting.unquoted",
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
        "session.Session, of any peer",
        sessions.hear_a_peer,
        (ProtocolError,),
        PEERS,
        words=FRAMES,
        longest=8 * KIB,  # for each byte is read four times, once by itself
    ),
    parser(
        "session.Session, two on a line",
        sessions.talk_on_a_line,
        (),
        LINES,
        shares=6,  # so that there are 30,000 runs in 10 minutes
    ),
    parser(
        "socks_client.connect_socks4",
        parsers.socks4_with_arguments,
        (ProtocolError,),
        [b"\0\x5a" + bytes(6)],
    ),
    parser(
        "socks_client.connect, with arguments",
        parsers.socks5_with_arguments,
        (ProtocolError,),
        [b"\5\2\1\0\5\0\0\1\0\0\0\0\0\0", b"\5\2\1\0\5\0\0\3\x09a.example\0\0"],
    ),
    parser(
        "socks_client.connect, without arguments",
        parsers.socks5_without_arguments,
        (ProtocolError,),
        [b"\5\0\5\0\0\4" + bytes(18), b"\5\0\5\0\0\1" + bytes(6)],
    ),
    parser(
        "socks_server.accept",
        tor_callers.socks5_accepted,
        (ProtocolError,),
        [
            b"\5\2\0\2\1\6cert=A\1\0\5\1\0\1\xc0\0\2\3\1\xbb",
            b"\5\1\0\5\1\0\3\x09a.example\1\xbb",
            b"\5\1\0\5\1\0\4" + bytes(15) + b"\1\1\xbb",
        ],
    ),
    parser(
        "socks_server.accept, the arguments",
        tor_callers.socks5_arguments,
        (ProtocolError,),
        [b"cert=AAAA;iat-mode=0", rb"a\=b=c\;d;e\\f=g=h", b"k=" + b"v" * 300],
    ),
    parser(
        "json_text.load",
        parsers.read_json,
        (ProtocolError,),
        [CONFIGURATION, b"{a: 'b', /* c */ d: [+1, .5, 0x1f,], // e\n}"],
        words=JSON_WORDS,
        longest=8 * KIB,  # JSON5 is read slowly, and costs memory
    ),
    parser(
        "markup.without_markup and wrapping",
        parsers.open_a_wrapping,
        (),
        [
            b"<p>a&amp;b<br/>```x",
            b"bridge:a%20b",
            b"ss%3A%2F%2F",
            b"c3M6Ly94QHk6MSNhYmM",
        ],
    ),
    parser(
        "server_list.find",
        parsers.read_server_list,
        (ProtocolError,),
        [CONFIGURATION, *OTHER_CONFIGURATIONS],
        words=JSON_WORDS,
        longest=8 * KIB,
    ),
    parser(
        "settings.find",
        parsers.read_settings,
        (),
        [
            b"server: a\nport: 1\n# x",
            b"option plugin_opts 'a=b'",
            b"- {server: a, pwd: b}",
        ],
    ),
    parser(
        "ss_config.parse",
        parsers.read_ss_config,
        (ProtocolError,),
        [CONFIGURATION, b'{"servers": [{"address": "a.b", "port": "1"}]}'],
        words=JSON_WORDS,
    ),
    parser(
        "wrapping.inside",
        parsers.open_a_wrapping,
        (),
        [b"bridge:a%20b", b"ss%3A%2F%2F", b"c3M6Ly94QHk6MSNhYmM"],
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
# What listens on loopback, over real connections: what its callers say.
PORTS = (ports.target("ext_orport.OrPort", ports.ExtendedOrPort, EXTORPORT_COMMANDS),)
TARGETS = (*PARSERS, *PORTS)


def without(modules: Iterable[str], targets: Collection[Target]) -> set[str]:
    """Return those of some modules that none of the targets is a way into."""
    return set(modules) - {target.module for target in targets}
