"""The transport's arguments among the plugin options, held against the catalogue.

What is surely a mistake is an error, what is probably one a warning; a transport that
is not in the catalogue gets whatever it is given.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.options.own_options import ARGUMENT_PREFIX, GONE, OPTIONS, SERVER
from pt_bridge.options.plugin_options import Option
from pt_bridge.options.transports import PROGRAMS, TRANSPORTS
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.protocol.pt_args import is_printable
from pt_bridge.text.spelling import (
    NEARLY_THE_SAME,
    SIMILAR,
    did_you_mean,
    nearest_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pt_bridge.options.transports import Side

    Arguments = list[tuple[str, str]]

# Every argument that some transport takes: surely no misspelt option of ours.
KNOWN = frozenset(
    argument
    for transport in TRANSPORTS.values()
    for side in (transport.client, transport.server)
    if side is not None
    for argument in side.takes
)
OURS = frozenset(OPTIONS)
# Android adds this to every plugin's options.
SHADOWSOCKS_OPTIONS = frozenset({"__android_vpn"})
BESIDE = " \"'"  # what is copied along by mistake
NAME_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
)
MAX_SHOWN = 24
HIDDEN = "..."
# The ports of URLs that name none.
URL_PORTS = {"https": 443, "http": 80}


def is_ours(key: str, *, server: bool) -> bool:
    """Whether a key is that of an option of ours.

    A client's front= is meek's or snowflake's, though a server's is ours.
    """
    return key in OURS and (server or OPTIONS[key].side != SERVER or key not in KNOWN)


def trimmed(option: Option) -> Option | None:
    """Return an option without the blanks that people write beside ``;``.

    Those around a key go, those around a value where it is an option that we know: no
    such value begins or ends with one. What has the prefix is sent as it is. None for
    nothing but blanks.
    """
    key, value = option.key.lstrip(" "), option.value
    if not key and value is None:
        return None
    if not key.startswith(ARGUMENT_PREFIX):
        key = key.rstrip(" ")
    if value is not None and (key in OURS or key in KNOWN):
        value = value.strip(" ")
    return Option(key, value, option.column)


def sort(
    options: list[Option], *, server: bool = False
) -> tuple[dict[str, str | None], list[tuple[str, str]]]:
    """Separate our own options from the PT's arguments.

    A client's front= is meek's or snowflake's, a server's is ours.

    Args:
        options: all of them.
        server: whether it is known already that they are a server's.

    Raises:
        OptionsError: one of them can be neither.
    """
    own: dict[str, str | None] = {}
    given: list[tuple[str, str]] = []
    server = server or any(option.key == "server" for option in options)
    for option in filter(None, map(trimmed, options)):
        if option.key in SHADOWSOCKS_OPTIONS:
            continue
        if option.key in GONE:
            raise OptionsError(GONE[option.key])
        if is_ours(option.key, server=server):
            OPTIONS[option.key].add(own, option)
        else:
            given.append(read(option))
    return own, given


def read(option: Option) -> tuple[str, str]:
    """Read an option that is not one of our own: an argument for the PT.

    Returns:
        Its name, and its value.

    Raises:
        OptionsError: it cannot be one, or is meant for us; its value is not shown.
    """
    _check_no_bridge_line(option.key, option.column)
    key = option.key.removeprefix(ARGUMENT_PREFIX)
    if not key or not is_printable(key):
        raise OptionsError(
            f"the key at column {option.column} is not a name in printable ASCII"
        )
    if key == option.key and key not in KNOWN:
        check_not_ours(key, option.column)
    if option.value is None:
        if key == option.key:
            _check_no_name(key, option.column)
        # Whatever it is, it may be a value that has lost its name.
        name = _name_at_start(option.key)
        named = name if _is_like_a_name_of_ours(name) else HIDDEN
        raise OptionsError(
            f"'{named}' at column {option.column} needs a '=' and a value behind it"
            f"{did_you_mean(key, OURS)}"
        )
    if not is_printable(option.value):
        raise OptionsError(
            f"the value of '{shown(key)}' at column {option.column} is not printable "
            f"ASCII"
        )
    return key, option.value


def _check_no_bridge_line(key: str, column: int) -> None:
    """Check that no bridge line stands among the options as it is.

    Raises:
        OptionsError: one does; it says what belongs before it.
    """
    first, *rest = key.split() or [""]
    has_keyword = first.lower() == "bridge" and bool(rest)
    if has_keyword or (
        first in TRANSPORTS and rest and any(mark in rest[0] for mark in ".:[")
    ):
        raise OptionsError(
            f"at column {column} stands a bridge line: write 'bridge=' before it, and "
            f"leave out transport="
        )


def _check_no_name(key: str, column: int) -> None:
    """Check that a key without a value is no name of a transport's or a program's.

    Nor NAME:VALUE.

    Raises:
        OptionsError: it is; it says how to write it.
    """
    if key in TRANSPORTS:
        raise OptionsError(
            f"'{key}' at column {column} is the name of a transport: write "
            f"transport={key}"
        )
    if key in PROGRAMS:
        raise OptionsError(
            f"'{key}' at column {column} is the name of a program: write "
            f"transport=NAME;exec={key}"
        )
    name, colon, value = key.partition(":")
    if colon and (name in OURS or name in KNOWN):
        value = value if value in TRANSPORTS else HIDDEN
        raise OptionsError(
            f"'{name}:' at column {column} must be '{name}=': write {name}={value}"
        )


def check_not_ours(key: str, column: int) -> None:
    """Check that nothing that was meant for us, a proxy for one, goes to the PT.

    Raises:
        OptionsError: its key is nearly one of ours, or has something beside it.
    """
    bare = key.strip(BESIDE)
    if bare != key and (bare in OURS or bare in KNOWN):
        raise OptionsError(
            f"'{bare}' at column {column} has a blank or a quote beside it: leave it "
            f"out"
        )
    nearest = nearest_of(key.replace("_", "-"), OURS, NEARLY_THE_SAME)
    if nearest:
        raise OptionsError(
            f"there is no option '{shown(key)}' (column {column}): did you mean "
            f"'{nearest}'? ({ARGUMENT_PREFIX}NAME=VALUE sends any name to the PT)"
        )


def check_alone(given: list[tuple[str, str]]) -> None:
    """Check that no argument stands beside a bridge line, which holds them all.

    Raises:
        OptionsError: one does.
    """
    if given:
        keys = " ".join(f"{shown(key)}=" for key, _ in given)
        raise OptionsError(
            f"bridge= holds the transport's arguments, too: leave out {keys}, or "
            f"bridge= (and write a ';' within the line as '\\;')"
        )


def check_needs(
    transport: str,
    side: Side,
    arguments: Arguments,
    *,
    server: bool,
    flags: Callable[[], Sequence[str]] = tuple,
) -> list[str]:
    """Check that the arguments are there without which the transport cannot work.

    Args:
        transport: its name.
        side: its side in the catalogue.
        arguments: what is given.
        server: whether we are a server.
        flags: returns what the owner's own line puts on the program's command line,
            which may say the same; asked only where something is missing.

    Returns:
        A sentence where something is missing that may stand elsewhere.

    Raises:
        OptionsError: one is missing; it names it, and what may stand there for it.
    """
    given = {key for key, _ in arguments}
    if not side.missing(given):
        return []
    words = flags()
    given |= {name for word in words if (name := _name_of(word))}
    missing = side.missing(given)
    if not missing:
        return []
    names = " and ".join(f"{key}=" for key in missing)
    if words or side.is_enough(given):
        some = "some PTs end at the first connection without"
        return [f"{transport} may need {names}, too: {some}"]
    if server:
        whence = "it is the server's own"
    elif side.flags:
        whence = (
            "copy the bridge line whole, or see that the owner's ClientTransportPlugin "
            "line has them as flags"
        )
    else:
        whence = "copy the server's line (and on the server side, add 'server')"
    hints = {
        f"; it takes no '{shown(key)}'{hint}"
        for key, _ in arguments
        if key not in side.takes and (hint := did_you_mean(key, missing))
    }
    # Whoever has lost the end of a line has lost the end of a value, too.
    hints |= {f"; {flaw}" for flaw in _flaws(side, arguments)}
    raise OptionsError(
        f"{transport} needs {names} in the plugin options: {whence}"
        f"{''.join(sorted(hints))}"
    )


def _name_of(word: str) -> str:
    """Return the name of a flag on a PT's command line, or "" for another word."""
    return word.lstrip("-").partition("=")[0] if word.startswith("-") else ""


def check_shapes(side: Side, arguments: Arguments) -> None:
    """Check that no value is one that the PT cannot take, whatever server it is for.

    Raises:
        OptionsError: one is; it is not shown.
    """
    for flaw in _flaws(side, arguments):
        raise OptionsError(flaw)


def _flaws(side: Side, arguments: Arguments) -> Iterator[str]:
    """Yield a sentence for each value that the PT cannot take; it is not shown."""
    given = dict(reversed(arguments))  # of equal ones PTs take the first
    for key, value in given.items():
        shape = side.shapes.get(key)
        if shape is not None and shape.is_sure and not shape.fits(value):
            yield (
                f"the value of '{key}' must be {shape.what}, and has {len(value)} "
                f"characters: was it copied whole?"
            )


def warnings(
    transport: str, side: Side, arguments: Arguments, *, server: bool
) -> list[str]:
    """Return a sentence for each argument that is a mistake, or may be regretted."""
    found = []
    first: dict[str, str] = {}  # of equal ones; PTs take that, too
    for key, value in arguments:
        first.setdefault(key, value)
    for key, value in first.items():
        if key in side.takes:
            shape = side.shapes.get(key)
            if (key, value) in side.cautions:
                found.append(side.cautions[key, value])
            if shape is not None and not (shape.is_sure or shape.fits(value)):
                found.append(
                    f"the value of '{key}' is not {shape.what}: was it copied whole?"
                )
        elif server and key in TRANSPORTS[transport].client.takes:
            found.append(
                f"{transport} takes no '{key}' on the server side: if this is the "
                f"client, leave out 'server'"
            )
        else:
            hint = did_you_mean(key, side.takes)
            found.append(f"{transport} takes no '{shown(key)}'{hint}")
    return found


def shown(key: str) -> str:
    """Return what of a key is surely a name, or "...": the rest may be a secret."""
    name = _name_at_start(key)
    return name if name == key or _is_like_a_name_of_ours(name) else HIDDEN


def _name_at_start(key: str) -> str:
    end = next(
        (i for i, character in enumerate(key) if character not in NAME_CHARACTERS),
        len(key),
    )
    return key[:end] if 0 < end <= MAX_SHOWN else HIDDEN


def _is_like_a_name_of_ours(name: str) -> bool:
    """Whether this is a name, with something behind it, and no start of a cert."""
    return bool(
        nearest_of(name.removeprefix(ARGUMENT_PREFIX), {*KNOWN, *OURS}, SIMILAR)
    )


def address(arguments: Arguments) -> Address | None:
    """Return where a client's PT connects to, where that is in its arguments.

    It is in `addr`, or else in the `url`; as everywhere, the first of each counts.

    Returns:
        The address, or None where they name none that we understand.
    """
    given = dict(reversed(arguments))
    if "addr" in given:
        text = given["addr"]
    else:
        scheme, _, rest = given.get("url", "").partition("://")
        text = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
        _, colon, port = text.rpartition(":")
        if not (colon and port.isdigit()):
            text = f"{text.removesuffix(':')}:{URL_PORTS.get(scheme.lower(), '')}"
    try:
        return parse_host_port(text)
    except ProtocolError:
        return None
