"""The ways into the pure modules: bytes in, and what must hold for what comes out.

What pt-bridge both writes and reads is read again, and is the same; what only others
read is read here after their specification. What comes in pieces comes out the same in
whatever pieces it came.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import pickle
import re
from typing import TYPE_CHECKING, TypeVar

from pt_bridge.errors import (
    OptionsError,
    ProtocolError,
    PtBridgeError,
    TransportError,
    UsageError,
)
from pt_bridge.formats import (
    bridge_line,
    host_command,
    json_text,
    server_list,
    settings,
    ss_config,
    ss_link,
)
from pt_bridge.formats.bridge_line import BridgeLine
from pt_bridge.formats.profile import Profile
from pt_bridge.formats.torrc import (
    OWNERS_OPTIONS,
    Include,
    Permission,
    Plugin,
    parse_pt_config,
)
from pt_bridge.formats.torrc import parse as parse_torrc
from pt_bridge.options.client_options import client_line
from pt_bridge.options.config import Config
from pt_bridge.options.plugin_options import parse as parse_options
from pt_bridge.options.plugin_options import serialize
from pt_bridge.options.ss_variables import ADDRESS_VARIABLES, variables_from_flags
from pt_bridge.options.transports import PROGRAMS, TRANSPORTS
from pt_bridge.profiles import convert, forms, pasted
from pt_bridge.protocol import (
    ext_orport,
    http_connect,
    pt_environment,
    socks_client,
)
from pt_bridge.protocol.address import (
    Address,
    is_loopback,
    is_wildcard,
    parse_endpoint,
    parse_host,
    parse_host_port,
    parse_hosts,
    parse_port,
)
from pt_bridge.protocol.pt_args import (
    MAX_ARGUMENTS,
    MAX_FIELD,
    credentials,
    decode_server,
    encode_client,
    encode_server,
    is_printable,
)
from pt_bridge.protocol.pt_launch import Launch, State
from pt_bridge.protocol.pt_messages import (
    MAX_LINE,
    LineBuffer,
    parse,
    parse_pairs,
)
from pt_bridge.pt.backoff import CAP, FIRST, Backoff
from pt_bridge.system.scrubber import MIN_SECRET, SCRUBBED, Scrubber
from pt_bridge.text import excerpts, foreign, markup, wrapping
from pt_bridge.text.quoting import unquoted, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from pt_bridge.formats.torrc import Entry
    from pt_bridge.protocol.handshake import Ask

S = TypeVar("S")
T = TypeVar("T")

# In how many bytes at a time a stream is given to what must not mind.
PIECES = (1, 3, 64)
# What a line buffer may hold, beside a line (bytes).
BESIDE = 1024
# What a handshake may read of its peer in all (bytes).
MAX_READ = ext_orport.MAX_SIZE + 2 * 65_535
# What chooses a proxy for many programs, in small letters.
PROXIES = (b"http_proxy", b"https_proxy", b"all_proxy", b"no_proxy")
# Between the parts of an input that stands for several texts.
BREAK = b"\n"

# pt-spec 3.5: a backslash before each backslash, '=' and ';', and before nothing else.
CLIENT_PAIR = re.compile(r"((?:[^\\=;]|\\[\\=;])*)=((?:[^\\=;]|\\[\\=;])*)(?:;|\Z)")
# pt-spec 3.2.3: likewise, of ':', ';' and '\'; in a key '=', too.
SERVER_PAIR = re.compile(
    r"obfs4:((?:[^\\:;=]|\\[\\:;=])*)=((?:[^\\:;]|\\[\\:;])*)(?:;|\Z)"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
CONTROL_BYTES = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
ESCAPED = re.compile(r"\\(.)")

COOKIE, NONCE = bytes(32), bytes(32)


def as_variable(data: bytes) -> str:
    """Decode as the environment and the command line are (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def as_printed(data: bytes) -> str:
    """Decode as what a PT prints; it can be encoded again, as all text should."""
    return data.decode("utf-8", "backslashreplace")


def as_pairs(data: bytes) -> list[tuple[str, str]]:
    """Return keys and values: every other line of the input is a value."""
    texts = as_variable(data).split("\n")
    return list(zip(texts[::2], texts[1::2], strict=False))


def as_arguments(data: bytes) -> list[tuple[str, str]]:
    """Create what a configuration lets through as arguments: printable, with keys."""
    return [(k, v) for k, v in as_pairs(data) if k and is_printable(k + v)]


def read_back(pair: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    """Read arguments as a PT does.

    Args:
        pair: what one looks like, with what separates it from the next.
        text: all of them.
    """
    pairs, position = [], 0
    while position < len(text):
        match = pair.match(text, position)
        assert match, f"no PT could read the arguments from {position} on"
        pairs.append((ESCAPED.sub(r"\1", match[1]), ESCAPED.sub(r"\1", match[2])))
        position = match.end()
    return pairs


def again(read: Callable[[S], T], written: S) -> T:
    """Read what was written: that is never refused."""
    try:
        return read(written)
    except PtBridgeError as error:
        raise AssertionError(f"what was written is refused: {error}") from error


# -- options.py, args.py ---------------------------------------------------------------


def read_options(data: bytes) -> None:
    """Parse options; what was parsed is written, and read, as the same."""
    _check_options([(option.key, option.value) for option in parse_options(data)])


def _check_options(pairs: list[tuple[str, str | None]]) -> None:
    written = serialize(pairs).encode("utf-8", "surrogateescape")
    read = [(option.key, option.value) for option in again(parse_options, written)]
    assert read == pairs, "options are not read as they were written"


def write_options(data: bytes) -> None:
    """Write any keys and values as options: they are read as the same."""
    pairs = as_pairs(CONTROL_BYTES.sub(b"", data))
    _check_options([(key, value or None) for key, value in pairs if key])


def read_server_arguments(data: bytes) -> None:
    """Read what stands behind ARGS: only what clients can send comes out."""
    for pair in decode_server(as_printed(data)):
        assert all(map(is_printable, pair)), "an argument is not printable"


def write_client_arguments(data: bytes) -> None:
    """Write arguments for SOCKS: a PT reads the same, out of both fields together."""
    arguments = as_pairs(data)
    encoded = encode_client(arguments)
    assert read_back(CLIENT_PAIR, encoded.decode("ascii")) == arguments, (
        "a PT reads other arguments than were written"
    )
    fields = credentials(encoded)
    assert (fields is None) == (not encoded), "there are credentials for nothing"
    if fields is not None:
        user, password = fields
        assert 0 < len(user) <= MAX_FIELD, "a user name does not fit"
        assert 0 < len(password) <= MAX_FIELD, "a password does not fit"
        assert (user + password).removesuffix(b"\0") == encoded, "arguments are lost"


# -- address.py ------------------------------------------------------------------------


def read_port(data: bytes) -> None:
    """Parse a port: in digits it is one again."""
    port = parse_port(as_variable(data))
    assert again(parse_port, str(port)) == port, "a port is read as another one"


def check_address(address: Address) -> None:
    """Check that an address is read as it is written."""
    read = again(parse_host_port, str(address))
    assert read == address, "an address is read as another one"
    assert address.host.isascii(), "a host is not ASCII"
    assert not (is_loopback(address) and is_wildcard(address.host)), (
        "an address is loopback's and every one's"
    )


def read_host(data: bytes) -> None:
    """Parse a host: it is one again, with a port and without."""
    host = parse_host(as_variable(data))
    assert again(parse_host, host) == host, "a host is read as another one"
    check_address(Address(host, 1))


def read_hosts(data: bytes) -> None:
    """Parse several: all are there, and the one that worked comes first."""
    hosts = parse_hosts(as_variable(data))
    assert again(parse_hosts, "|".join(hosts)) == hosts, "hosts are read as others"


def read_host_port(data: bytes) -> None:
    """Parse a host and a port; written, they are the same."""
    check_address(parse_host_port(as_variable(data)))


def read_endpoint(data: bytes) -> None:
    """Parse what a PT says that it listens on."""
    address = parse_endpoint(as_printed(data))
    assert address.ip is not None, "an endpoint is no IP address"
    check_address(address)


# -- backoff.py, environment.py --------------------------------------------------------


def back_off(data: bytes) -> None:
    """Let a PT die, as often as there are pairs of bytes, at most `restarts` times."""
    restarts, times = data[0] if data else 0, data[1:]
    backoff = Backoff(restarts)
    deaths = 0
    for lived, chance in zip(times[::2], times[1::2], strict=False):
        deaths = 1 if lived >= 60 else deaths + 1
        wait = backoff.after_death(lived=float(lived), chance=chance / 255)
        assert (wait is None) == (deaths > restarts), "the deaths are miscounted"
        assert wait is None or FIRST <= wait <= 2 * CAP, f"a wait of {wait} s"


def make_environments(data: bytes) -> None:
    """Create a PT's environment: ours is not in it, and it reads what was meant."""
    lines = [line.partition(b"=") for line in data.split(BREAK)]
    inherited = pt_environment.inherited({name: value for name, _, value in lines})
    for name in inherited:
        assert not name.startswith((b"SS_", b"TOR_PT_")), f"{name!r} is inherited"
        assert name.lower() not in PROXIES, f"{name!r} is inherited"
    arguments = as_arguments(data)
    server = pt_environment.server(
        "obfs4",
        state=b"/state",
        bind=Address("::", 443),
        orport=None,
        extended=Address("127.0.0.1", 1),
        cookie="/proc/self/fd/3",
        arguments=arguments,
    )
    client = pt_environment.client("obfs4", state=b"/state", proxy=None)
    for name in (*server, *client):
        assert name.startswith(b"TOR_PT_"), f"{name!r} is made"
    options = server.get(b"TOR_PT_SERVER_TRANSPORT_OPTIONS", b"").decode("ascii")
    assert options == encode_server("obfs4", arguments), "options are lost"
    assert read_back(SERVER_PAIR, options) == arguments, (
        "a PT reads other arguments than were written"
    )


# -- messages.py, launch.py ------------------------------------------------------------


def read_line(data: bytes) -> None:
    """Parse a line of a PT's: a message, and with CR LF the same one."""
    line = data.removesuffix(b"\r")
    assert parse(line + b"\r") == parse(data), "a CR makes another message of a line"


def read_pairs(data: bytes) -> None:
    """Parse the pairs of a LOG or STATUS line; quoted, they are read as the same."""
    pairs = parse_pairs(as_printed(data))
    if pairs is None:
        return
    quoted = " ".join(f'{key}="{_quoted(value)}"' for key, value in pairs.items())
    assert parse_pairs(quoted) == pairs, "pairs are not read as they were written"


def _quoted(text: str) -> str:
    """Write text as a C string, each byte in octal (pt-spec 3.3.4)."""
    return "".join(
        f"\\{byte:03o}" if byte else "\0"  # NUL has no escape, and may stand bare
        for byte in text.encode("utf-8")
    )


def read_lines(data: bytes) -> None:
    """Cut a stream into lines, in pieces of any size: they are always the same."""
    whole = LineBuffer()
    lines = whole.receive_data(data)
    assert all(b"\n" not in line for line in lines), "a line has a line end in it"
    assert max(map(len, lines), default=0) <= MAX_LINE, "a line is too long"
    for size in PIECES:
        buffer = LineBuffer()
        pieces = (data[start : start + size] for start in range(0, len(data), size))
        again = [line for each in pieces for line in buffer.receive_data(each)]
        assert again == lines, f"there are other lines in pieces of {size} bytes"
        assert buffer.dropped == whole.dropped, "other lines are dropped"
    held = len(pickle.dumps(whole))
    assert held <= MAX_LINE + BESIDE, f"a line buffer holds {held} bytes"


def launch(data: bytes, *, server: bool) -> None:
    """Let a PT print a session, and end."""
    others = [] if server else ["obfs3"]
    start = Launch("lyrebird", "obfs4", server=server, proxy=not server, others=others)
    offer = None
    for line in LineBuffer().receive_data(data):
        start.receive(parse(line))
        if start.state is State.READY:
            offer = offer or _offer(start)
            assert _offer(start) == offer, "what it offers has changed once it is ready"
    assert isinstance(start.ended("ended", "last words"), TransportError)


def _offer(start: Launch) -> tuple[object, ...]:
    """Return what a PT that is ready offers."""
    if not start.server:
        assert start.methods, "it is ready, and listens nowhere"
        for address, protocol in start.methods.values():
            assert is_loopback(address), "its listener is not on loopback"
            assert protocol in ("socks4", "socks5"), "it speaks nothing that we do"
    return start.address, {**start.methods}, [*start.arguments]


def launch_a_client(data: bytes) -> None:
    """Let a client PT print a session."""
    launch(data, server=False)


def launch_a_server(data: bytes) -> None:
    """Let a server PT print a session."""
    launch(data, server=True)


# -- bridge_line.py, ss_link.py, ss_config.py, profile.py, profiles/ ------------------


def _told(line: BridgeLine) -> tuple[object, ...]:
    return line.transport, line.address, line.arguments, line.fingerprint


def read_bridge_line(data: bytes) -> None:
    """Read a bridge line; what was read is written, and read, as the same."""
    line = bridge_line.parse(as_variable(data))
    check_address(line.address)
    assert _told(again(bridge_line.parse, str(line))) == _told(line), (
        "a bridge line that was written is not read as the same"
    )


def write_bridge_line(data: bytes) -> None:
    """Write what a bridge line can hold: it is read as the same."""
    lines = data.split(BREAK, 3)
    transport, address, fingerprint, rest = [*lines, b"", b"", b""][:4]
    line = BridgeLine(
        as_variable(transport),
        parse_host_port(as_variable(address)),
        as_pairs(rest),
        as_variable(fingerprint) or None,
    )
    if len(str(line)) <= bridge_line.MAX_LENGTH:
        assert _told(again(bridge_line.parse, str(line))) == _told(line), (
            "a bridge line is not read as it was written"
        )


def _is_named_like_options(profile: Profile) -> bool:
    """Whether its plugin's name is one that is read as options, or as both."""
    name = profile.plugin or ""
    likeness = ss_config.OPTIONS.match(name)
    return bool(likeness or ss_config.NAME_AND_OPTIONS.fullmatch(name))


def _check_profile(profile: Profile) -> None:
    """Check that a profile is read from both forms as it was written."""
    if _is_named_like_options(profile):
        return
    text = ss_config.serialize(profile)
    tells = profile != Profile(others=profile.others)  # or it is nothing to write
    if tells and len(text) <= json_text.MAX_LENGTH:
        assert again(ss_config.parse, text) == profile, (
            "a configuration is not read as it was written"
        )
    if len(profile.hosts) != 1 or None in (
        *(profile.port, profile.method, profile.password),
    ):
        return
    link = ss_link.serialize(profile)
    linked = dataclasses.replace(
        profile, plugin=profile.program or None, others={}, local_host=None
    )
    linked = dataclasses.replace(linked, local_port=None)
    if profile.plugin is None:
        linked = dataclasses.replace(linked, plugin_opts="")
    if len(link) <= ss_link.MAX_LENGTH:
        read = again(ss_link.parse, link)
        assert read == linked, "a link is not read as it was written"


def read_ss_link(data: bytes) -> None:
    """Read a link; what was read is written, and read, as the same."""
    _check_profile(ss_link.parse(as_printed(data)))


def read_ss_config(data: bytes) -> None:
    """Read a configuration; what was read is written, and read, as the same."""
    _check_profile(ss_config.parse(as_printed(data)))


def write_profile(data: bytes) -> None:
    """Write what a profile can hold: every form that can hold it, too, does."""
    texts = as_variable(data).split("\n", 6)
    host, port, method, password, plugin, options, name = [*texts, *[""] * 6][:7]
    if ss_link.OURS.startswith(plugin) and plugin != ss_link.OURS:
        plugin = ""  # a link with it looks like one that was cut
    profile = Profile(
        hosts=(parse_host(host),),
        port=parse_port(port),
        method=method,
        password=password,
        plugin=plugin or None,
        plugin_opts=options,
        name=name,
    )
    _check_profile(profile)


def read_json(data: bytes) -> None:
    """Read JSON or JSON5; what was read is written, and read, as the same."""
    value = json_text.load(as_printed(data))
    text = json.dumps(value)
    if len(text) <= json_text.MAX_LENGTH:
        assert again(json_text.load, text) == value, "JSON is read as something else"
    assert all(isinstance(each, str) for each in json_text.strings(value))


def read_server_list(data: bytes) -> None:
    """Find the servers in what JSON holds; each can be looked at as one."""
    found = server_list.find(json_text.load(as_printed(data)))
    if found is not None:
        assert all(isinstance(server, dict) for server in found.servers)


def read_settings(data: bytes) -> None:
    """Find settings, one a line; each stands there."""
    text = as_variable(data)
    try:
        found = settings.find(text)
    except ProtocolError:  # several servers, which hardly any input has
        return
    if found is not None:
        for value in found.values.values():
            assert str(value) in text, "a setting does not stand there"


def read_host_command(data: bytes) -> None:
    """Find commands, and read each."""
    for line in host_command.find(as_variable(data)):
        host_command.parse(line)


def find_excerpts(data: bytes) -> None:
    """Cut bridge lines and links out of a text: each is there once."""
    text = visible(as_variable(data))
    for found in (
        excerpts.bridge_lines(text, TRANSPORTS),
        excerpts.links(text),
    ):
        assert len(set(found.texts)) == len(found.texts), "one is there twice"
        assert all(found.texts), "one is empty"


def name_what_is_foreign(data: bytes) -> None:
    """Call a text by its name: no word of it is in the sentence."""
    text = as_variable(data)
    sentence = foreign.name_of(text)
    assert sentence == "" or sentence.startswith("that "), "a strange sentence"
    assert set(foreign.schemes(text)) <= foreign.SCHEMES.keys()


def open_a_wrapping(data: bytes) -> None:
    """Open what was encoded, and take the markup away."""
    text = as_variable(data)
    wrapping.inside(text)
    markup.without_markup(markup.without_entities(text))


def read_pasted(data: bytes) -> None:
    """Take away what people copy along: what is left has none of it any more."""
    text = visible(as_variable(data))
    assert visible(text) == text, "something invisible is left"
    bare = unquoted(text)
    assert bare == bare.strip(), "blanks are left"
    assert bare in text, "something has come along"


OPTIONS_BEGIN = ("transport=", "bridge=", "server;")
LENGTHS = {
    forms.BRIDGE: bridge_line.MAX_LENGTH,
    forms.LINK: ss_link.MAX_LENGTH,
    forms.JSON: json_text.MAX_LENGTH,
}


def convert_forms(data: bytes) -> None:
    """Read any form, and write each that can hold it: that is read as the same."""
    profile = pasted.read(as_variable(data))
    if _is_named_like_options(profile):
        return
    for form in forms.FORMS:
        try:
            text = convert.write(profile, form)
        except (OptionsError, UsageError):
            continue
        is_refused = any("will refuse" in each for each in convert.notes(profile, form))
        # Options that begin like something else are taken for that, and blanks go.
        is_vague = form == forms.OPTIONS and not (
            text == text.strip() and text.startswith(OPTIONS_BEGIN)
        )
        if is_refused or is_vague or len(text) > LENGTHS.get(form, len(text)):
            continue
        read = again(pasted.read, text)
        assert convert.write(read, form) == text, f"{form} is read as something else"


# -- torrc.py --------------------------------------------------------------------------


def _check_entries(entries: Iterable[Entry], *, included: bool) -> None:
    for entry in entries:
        match entry:
            case Plugin():
                assert entry.transports, "a program is for no transport"
                assert included or entry.path.startswith("/"), "a path is not absolute"
                texts = (entry.path, *entry.transports, *entry.arguments)
            case Permission(option):
                assert option in OWNERS_OPTIONS, "something else is allowed"
                texts = (option,)
            case Include():
                assert not included, "an included file includes another"
                texts = (entry.path,)
        assert all(texts), "a word is empty"
        assert not CONTROL.search("".join(texts)), "a control character gets through"


def read_torrc(data: bytes) -> None:
    """Read the owner's file."""
    _check_entries(parse_torrc(data, "f"), included=False)


def read_included_torrc(data: bytes) -> None:
    """Read a file that the owner's includes."""
    _check_entries(parse_torrc(data, "f", included=True), included=True)


def read_pt_config(data: bytes) -> None:
    """Read a file of the expert bundle's that the owner's includes."""
    _check_entries(parse_pt_config(data, "f"), included=True)


# -- socks_client.py, http_connect.py, ext_orport.py -----------------------------------


def shake_hands(handshake: Generator[Ask, bytes, object], script: bytes) -> None:
    """Run a handshake as far as what the other side says goes."""
    read = 0
    try:
        ask = next(handshake)
        while len(script) >= ask.read:
            read += ask.read
            assert read <= MAX_READ, "a handshake reads for ever"
            answer, script = script[: ask.read], script[ask.read :]
            ask = handshake.send(answer)
    except StopIteration:
        return


def socks5_with_arguments(data: bytes) -> None:
    """Speak SOCKS5 to a PT that answers anything."""
    shake_hands(socks_client.connect(Address("a.example", 443), b"cert=AAAA"), data)


def socks5_without_arguments(data: bytes) -> None:
    """Speak SOCKS5 to a PT that answers anything, without authentication."""
    shake_hands(socks_client.connect(Address("2001:db8::1", 443), b""), data)


def socks4_with_arguments(data: bytes) -> None:
    """Speak SOCKS4 to a PT that answers anything."""
    shake_hands(
        socks_client.connect_socks4(Address("192.0.2.3", 443), b"cert=AAAA"), data
    )


def http_connected(data: bytes) -> None:
    """Speak to an HTTP proxy that answers anything."""
    shake_hands(http_connect.connect(Address("a.example", 443), (b"u", b"p")), data)


KNOWS_THE_COOKIE = (
    ext_orport.SAFE_COOKIE
    + NONCE
    + hmac.digest(COOKIE, ext_orport.FROM_CLIENT + NONCE + NONCE, "sha256")
)


def extorport_accepted(data: bytes) -> None:
    """Be the Extended ORPort of a caller that says anything."""
    shake_hands(ext_orport.accept(cookie=COOKIE, nonce=NONCE), data)


def extorport_accepted_with_the_cookie(data: bytes) -> None:
    """Be the Extended ORPort of a PT, which then says anything."""
    extorport_accepted(KNOWS_THE_COOKIE + data)


# -- config.py, scrubber.py ------------------------------------------------------------


def configure(data: bytes) -> None:
    """Read SS_* out of five lines, in the order of SIP003 and the options last."""
    *values, options = data.split(BREAK, len(ADDRESS_VARIABLES))
    variables = dict(zip(ADDRESS_VARIABLES, values, strict=False))
    config = Config({**variables, b"SS_PLUGIN_OPTIONS": options})
    assert config.remotes, "there is no server"
    for address in (*config.remotes, config.local):
        check_address(address)
    if not config.server:
        encoded = config.ways[0].encoded_arguments
        assert len(encoded) <= MAX_ARGUMENTS, "the arguments do not fit"
        read_back(CLIENT_PAIR, encoded.decode("ascii"))
    for transport in config.transports:
        programs = config.programs_for(transport)
        assert set(programs) <= PROGRAMS, "a link chooses any program"
    assert config.loglevel != "debug", "a link turns debugging on"
    assert not config.unsafe_logging, "a link turns scrubbing off"
    for path in (config.state, config.logfile):
        assert path is None or not path.startswith("/"), "a link chooses any path"
        assert path is None or ".." not in path.split("/"), "a link chooses any path"


def configure_by_hand(data: bytes) -> None:
    """Read the flags of the standalone commands."""
    local, _, remote = as_variable(data).partition(" ")
    variables = variables_from_flags(local=local, remote=remote, plugin_options="")
    options = {b"SS_PLUGIN_OPTIONS": b"transport=t"}
    config = Config({**variables, **options}, plugin=False)
    assert config.local == parse_host_port(local), "--local is read as another address"


def read_client_line(data: bytes) -> None:
    """Write a server's line for its clients: they read the arguments as they were."""
    arguments = as_arguments(data)
    try:
        encode_client(arguments)
    except ProtocolError:  # no PT has that many
        return
    line = client_line("t", arguments)
    variables = variables_from_flags(
        local="127.0.0.1:1", remote="192.0.2.1:2", plugin_options=line
    )
    assert again(Config, variables).arguments == arguments, (
        "a client reads other arguments than the server wrote"
    )


def scrub(data: bytes) -> None:
    """Scrub a text whose first line is a secret: that is nowhere in it."""
    secret, _, text = as_printed(data).partition("\n")
    scrubber = Scrubber()
    scrubber.add(secrets=[secret])
    scrubbed = scrubber(f"{text} {secret} {text}")
    bare = secret.lstrip("\\")  # which may belong to what stands before it
    if len(bare) >= MIN_SECRET and bare.lower() not in SCRUBBED:
        assert bare not in scrubbed, "a secret gets through"
