r"""``ss://`` links (SIP002), and their older form.

::

    link     = "ss://" userinfo "@" host ":" port [ "/" ] [ "?" query ] [ "#" tag ]
    userinfo = base64url(method ":" password)       without padding
             / method ":" password                  percent-encoded; 2022's ciphers must
    query    = "plugin=" name [ ";" options ]       percent-encoded
    older    = "ss://" base64(method ":" password "@" host ":" port) [ "#" tag ]

A ``+`` in the query stands for a blank, as shadowsocks-rust and the Android app read
it. What else the query holds is left out, as SIP002 says, and that is said.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qsl, quote, unquote

from pt_bridge.errors import ProtocolError
from pt_bridge.formats import ss_config
from pt_bridge.formats.profile import Profile
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.text.quoting import unquoted, visible

SCHEME = "ss://"
OURS = "pt-bridge"
MAX_LENGTH = 16 * 1024  # characters; a plugin's options have a few hundred
MAX_FIELDS = 32
# What may be shown of a field: its name, and never a value that has lost its name.
FIELD = re.compile(r"[A-Za-z0-9_-]{1,24}")
# Where some programs put the plugin's options.
OPTIONS_APART = ("plugin-opts", "plugin_opts")
SEVERAL_PORTS = re.compile(r":\d+[-,]\d")
ESCAPED = re.compile(r"%3b|%3d", re.IGNORECASE)
PLUS = re.compile(r"(?:^|&)plugin=[^&]*\+")
# SIP022: their keys are base64 already, and base64url is forbidden around them.
PLAIN_METHODS = "2022-"


def parse(text: str) -> Profile:
    """Read a link.

    Raises:
        ProtocolError: it is none; no value is shown.
    """
    if len(text) > MAX_LENGTH:
        raise ProtocolError(f"it is longer than {MAX_LENGTH} characters")
    link, _, tag = unquoted(text.removeprefix("\ufeff")).partition("#")
    # Mail programs break long lines.
    link = "".join(line.strip() for line in visible(link).splitlines())
    if link[: len(SCHEME)].lower() != SCHEME:
        raise ProtocolError("it does not begin with ss://")
    body, _, query = link[len(SCHEME) :].partition("?")
    notes: list[str] = []
    userinfo, at, place = body.rpartition("@")
    if at:
        method, password = _userinfo(userinfo, notes)
    else:
        decoded = _base64(_decode(body.removesuffix("/")))
        userinfo, at, place = decoded.strip().rpartition("@")
        place, _, within = place.partition("#")  # some encode the name, too
        tag = tag or within
        if not at:
            raise ProtocolError("it has no '@' before the server: was it copied whole?")
        method, password = _pair(userinfo)
    if SEVERAL_PORTS.search(place):
        raise ProtocolError("it has several ports: shadowsocks has one, so leave one")
    if "://" in place:
        raise ProtocolError("the server is wrong: it has a '...://' before it")
    place, _, path = place.partition("/")
    if path:
        notes.append("left out of the link: the path behind the server's port")
    address = _address(place)
    plugin, options = _split(_plugin(query, notes), notes)
    is_cut = plugin.startswith(OURS[:3]) and OURS.startswith(plugin) and not options
    if is_cut and plugin != OURS:
        raise ProtocolError(
            f"its plugin is '{plugin}', which is how '{OURS}' begins: was it copied "
            f"whole?"
        )
    return Profile(
        hosts=(address.host,),
        port=address.port,
        method=method,
        password=password,
        plugin=plugin or None,
        plugin_opts=options,
        name=_name(tag, notes),
        notes=tuple(notes),
    )


def _split(text: str, notes: list[str]) -> tuple[str, str]:
    """Split a plugin from its options, before which some leave the name out."""
    if ss_config.OPTIONS.match(text):
        return ss_config.split_plugin(text, notes)
    plugin, _, options = text.partition(";")
    return plugin, options


def _userinfo(userinfo: str, notes: list[str]) -> tuple[str, str]:
    if ":" in userinfo:
        method, _, password = userinfo.partition(":")
        return _decode(method), _decode(password)
    decoded = _decode(userinfo)
    if ":" in decoded:
        return _pair(decoded)
    if "%" in decoded:  # escaped twice
        decoded = _decode(decoded)
    method, password = _pair(_base64(decoded))
    bare = password.rstrip("\r\n")
    if bare != password:
        notes.append(
            "left out: the line end behind the password, which 'echo ... | base64' "
            "puts there ('echo -n' does not)"
        )
    return method, bare


def _pair(text: str) -> tuple[str, str]:
    method, colon, password = text.partition(":")
    if not colon:
        raise ProtocolError(
            "there is no ':' between method and password: was it copied whole?"
        )
    return method, password


def _address(place: str) -> Address:
    decoded = _decode(place)
    if "%" in decoded:  # escaped twice
        decoded = _decode(decoded)
    try:
        return parse_host_port(decoded)
    except ProtocolError as error:
        raise ProtocolError(f"the server is wrong: {error}") from None


def _plugin(query: str, notes: list[str]) -> str:
    """Return the plugin and its options; note what else the query holds."""
    try:
        fields = parse_qsl(
            query,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise ProtocolError(
            f"behind the '?' stand more than {MAX_FIELDS} fields"
        ) from None
    plugins = list(dict.fromkeys(value for key, value in fields if key == "plugin"))
    if len(plugins) > 1:
        raise ProtocolError(f"it has {len(plugins)} plugins: leave one in it")
    apart = next((value for key, value in fields if key in OPTIONS_APART), "")
    if plugins and apart and ";" not in plugins[0]:
        plugins[0] = f"{plugins[0]};{apart}"
        fields = [field for field in fields if field[0] not in OPTIONS_APART]
        notes.append(
            "the plugin's options have a field of their own in the link: they belong "
            "in plugin=, behind a ';'"
        )
    others = [key if FIELD.fullmatch(key) else "..." for key, _ in fields]
    others = [key for key in dict.fromkeys(others) if key != "plugin"]
    if others:
        notes.append(
            f"left out of the link, for SIP002 has only plugin= there: "
            f"{', '.join(others)}"
        )
    plugin = next(iter(plugins), "")
    if ";" not in plugin and ESCAPED.search(plugin):  # escaped twice
        plugin = unquote(plugin, errors="surrogateescape")
    if " " in plugin and PLUS.search(query):
        notes.append(
            "a '+' behind the link's '?' is a blank: write %2B where a plus is meant"
        )
    return plugin


def _name(tag: str, notes: list[str]) -> str:
    """Return what people call the server: it need not be UTF-8, as GBK is none."""
    first, *more = tag.splitlines() or [""]
    name = unquote(first, errors="replace").replace("\0", "")
    if "\ufffd" in name or any(map(str.strip, more)):
        notes.append("left out: a part of the link's name, which is no text in UTF-8")
    return name


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ProtocolError("what stands behind a '%' in it is not UTF-8") from None


def _base64(text: str) -> str:
    """Decode base64 of either alphabet, with its padding or without."""
    text = text.replace("-", "+").replace("_", "/").rstrip("=")
    padding = "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text + padding, validate=True).decode()
    except ValueError:  # binascii.Error, UnicodeDecodeError
        raise ProtocolError(
            "method and password are not base64 in it: was it copied whole?"
        ) from None


def serialize(profile: Profile) -> str:
    """Write a link; `parse` undoes it.

    Args:
        profile: one with a host, a port, a method and a password; of several hosts, the
            first is written. A plugin is written without the folder it is in.
    """
    method, password, port = profile.method, profile.password, profile.port
    assert method is not None  # whoever asks has looked
    assert password is not None
    assert port is not None
    # A line end behind base64 is echo's.
    if method.startswith(PLAIN_METHODS) or password.endswith(("\r", "\n")):
        userinfo = f"{quote(method, safe='')}:{quote(password, safe='')}"
    else:
        pair = f"{method}:{password}".encode()
        userinfo = base64.urlsafe_b64encode(pair).decode().rstrip("=")
    link = f"{SCHEME}{userinfo}@{Address(profile.hosts[0], port)}"
    if profile.plugin is not None:
        options = profile.plugin_opts
        plugin = f"{profile.program};{options}" if options else profile.program
        link += f"/?plugin={quote(plugin, safe='')}"
    if profile.name:
        link += f"#{quote(profile.name, safe='')}"
    return link
