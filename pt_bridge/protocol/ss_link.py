r"""``ss://`` links (SIP002), and their older form.

::

    link     = "ss://" userinfo "@" host ":" port [ "/" ] [ "?" query ] [ "#" tag ]
    userinfo = base64url(method ":" password)       without padding
             / method ":" password                  percent-encoded; 2022's ciphers must
    query    = "plugin=" name [ ";" options ]       percent-encoded
    older    = "ss://" base64(method ":" password "@" host ":" port) [ "#" tag ]

A ``+`` in the query stands for a blank, as shadowsocks-rust and the Android app read
it. What else the query holds is ignored, as SIP002 says.
"""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl, quote, unquote

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.protocol.pasted import unquoted, visible
from pt_bridge.protocol.profile import Profile

SCHEME = "ss://"
MAX_LENGTH = 16 * 1024  # characters; a plugin's options have a few hundred
MAX_FIELDS = 32
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
    userinfo, at, place = body.rpartition("@")
    if at:
        method, password = _userinfo(userinfo)
        place = place.partition("/")[0]
    else:
        decoded = _base64(body.removesuffix("/") if query else body)
        userinfo, at, place = decoded.rpartition("@")
        if not at:
            raise ProtocolError("it has no '@' before the server: was it copied whole?")
        method, password = _pair(userinfo)
    address = _address(place)
    plugin, _, options = _plugin(query).partition(";")
    return Profile(
        hosts=(address.host,),
        port=address.port,
        method=method,
        password=password,
        plugin=plugin or None,
        plugin_opts=options,
        name=_decode(tag),
    )


def _userinfo(userinfo: str) -> tuple[str, str]:
    if ":" in userinfo:
        method, _, password = userinfo.partition(":")
        return _decode(method), _decode(password)
    decoded = _decode(userinfo)
    return _pair(decoded if ":" in decoded else _base64(decoded))


def _pair(text: str) -> tuple[str, str]:
    method, colon, password = text.partition(":")
    if not colon:
        raise ProtocolError(
            "there is no ':' between method and password: was it copied whole?"
        )
    return method, password


def _address(place: str) -> Address:
    decoded = _decode(place)
    try:
        return parse_host_port(decoded)
    except ProtocolError as error:
        raise ProtocolError(f"the server is wrong: {error}") from None


def _plugin(query: str) -> str:
    try:
        fields = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:  # UnicodeDecodeError among them
        raise ProtocolError(
            f"what stands behind the '?' is not UTF-8, or more than {MAX_FIELDS} fields"
        ) from None
    return next((value for key, value in fields if key == "plugin"), "")


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
    if method.startswith(PLAIN_METHODS):
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
