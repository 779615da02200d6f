"""The transport's arguments among the plugin options, held against the catalogue.

What is surely a mistake is an error, what is probably one a warning; a transport that
is not in the catalogue gets whatever it is given.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.own_options import ARGUMENT_PREFIX, OPTIONS
from pt_bridge.protocol.address import Address, parse_host_port
from pt_bridge.protocol.args import is_printable
from pt_bridge.protocol.options import parse, serialize
from pt_bridge.transports import TRANSPORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pt_bridge.protocol.options import Option
    from pt_bridge.transports import Side

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
# Arguments of a client line that any client may have otherwise than the server.
NO_IDENTITY = frozenset({"iat-mode", "ver"})
# difflib's measure: what is worth a hint, and what is nearly the same word.
SIMILAR, NEARLY_THE_SAME = 0.6, 0.8
BESIDE = " \"'"  # what is copied along by mistake
NAME_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
)
MAX_SHOWN = 24
HIDDEN = "..."
# So begin the keys that hosts add for themselves; who reads options passes over them.
HOST_PREFIX = "__"
# The ports of URLs that name none.
URL_PORTS = {"https": 443, "http": 80}


def read(option: Option) -> tuple[str, str]:
    """Read an option that is not one of our own: an argument for the PT.

    Returns:
        Its name, and its value.

    Raises:
        OptionsError: it cannot be one, or is meant for us; its value is not shown.
    """
    key = option.key.removeprefix(ARGUMENT_PREFIX)
    if not key or not is_printable(key):
        raise OptionsError(
            f"the key at column {option.column} is not a name in printable ASCII"
        )
    if key == option.key and key not in KNOWN:
        _check_not_ours(key, option.column)
    if option.value is None:
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


def _check_not_ours(key: str, column: int) -> None:
    """See that nothing that was meant for us, a proxy for one, goes to the PT."""
    bare = key.strip(BESIDE)
    if bare != key and (bare in OURS or bare in KNOWN):
        raise OptionsError(
            f"'{bare}' at column {column} has a blank or a quote beside it: leave it "
            f"out"
        )
    nearest = _nearest(key.replace("_", "-"), OURS, NEARLY_THE_SAME)
    if nearest:
        raise OptionsError(
            f"there is no option '{shown(key)}' (column {column}): did you mean "
            f"'{nearest}'? ({ARGUMENT_PREFIX}NAME=VALUE sends any name to the PT)"
        )


def check_needs(
    transport: str, side: Side, arguments: Arguments, *, server: bool
) -> None:
    """See that the arguments are there without which the transport cannot work.

    Raises:
        OptionsError: one is missing; it names it, and what may stand there for it.
    """
    missing = side.missing({key for key, _ in arguments})
    if not missing:
        return
    whence = (
        "it is the server's own"
        if server
        else "copy the server's line (and on the server side, add 'server')"
    )
    hints = {
        f"; it takes no '{shown(key)}'{hint}"
        for key, _ in arguments
        if key not in side.takes and (hint := did_you_mean(key, missing))
    }
    raise OptionsError(
        f"{transport} needs {' and '.join(f'{key}=' for key in missing)} in the plugin "
        f"options: {whence}{''.join(sorted(hints))}"
    )


def warnings(
    transport: str, side: Side, arguments: Arguments, *, server: bool
) -> list[str]:
    """Give a sentence for each argument that is probably a mistake."""
    found = []
    first: dict[str, str] = {}  # of equal ones; PTs take that, too
    for key, value in arguments:
        first.setdefault(key, value)
    for key, value in first.items():
        if key in side.takes:
            shape = side.shapes.get(key)
            if shape is not None and not shape.fits(value):
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
    """Give as much of a key as is surely a name, or "...": the rest may be a secret."""
    name = _name_at_start(key)
    return name if name == key or _is_like_a_name_of_ours(name) else HIDDEN


def _name_at_start(key: str) -> str:
    end = next(
        (i for i, character in enumerate(key) if character not in NAME_CHARACTERS),
        len(key),
    )
    return key[:end] if 0 < end <= MAX_SHOWN else HIDDEN


def _is_like_a_name_of_ours(name: str) -> bool:
    """Tell a name with something behind it from the start of a cert."""
    return bool(_nearest(name.removeprefix(ARGUMENT_PREFIX), {*KNOWN, *OURS}, SIMILAR))


def did_you_mean(key: str, known: Collection[str]) -> str:
    """Give a question that names what is nearest, or "" where nothing is near."""
    nearest = _nearest(key, known, SIMILAR)
    return f": did you mean '{nearest}'?" if nearest else ""


def _nearest(key: str, known: Collection[str], cutoff: float) -> str:
    # Slow to import, and needed only where something may be wrong.
    from difflib import get_close_matches

    words = sorted(known)
    return next(iter(get_close_matches(key.lower(), words, n=1, cutoff=cutoff)), "")


def client_line(transport: str, arguments: Arguments) -> str:
    """Write the plugin options with which clients reach a server.

    Args:
        transport: the server's transport.
        arguments: what the PT says that clients must use.
    """
    pairs: list[tuple[str, str | None]] = [("transport", transport)]
    for key, value in arguments:
        bare = key if _is_taken_bare(key) else f"{ARGUMENT_PREFIX}{key}"
        pairs.append((bare, value))
    return serialize(pairs)


def _is_taken_bare(key: str) -> bool:
    if key in OURS or key.startswith((ARGUMENT_PREFIX, HOST_PREFIX)):
        return False
    try:
        _check_not_ours(key, 0)
    except OptionsError:
        return key in KNOWN
    return True


def same_identity(line: str, other: str) -> bool:
    """Tell whether two client lines lead to the same server, if one was kept for long.

    What only shapes the traffic does not count: a client may go on with its old line.
    """
    try:
        return _identity(line) == _identity(other)
    except OptionsError:  # a file that somebody has changed
        return False


def _identity(line: str) -> list[tuple[str, str | None]]:
    options = parse(line.encode("utf-8", "surrogateescape"))
    return [(each.key, each.value) for each in options if each.key not in NO_IDENTITY]


def address(arguments: Arguments) -> Address | None:
    """Give where a client's PT connects to, where that is in its arguments.

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


def with_address(arguments: Arguments, place: Address) -> Arguments:
    """Give the arguments that make a client's PT connect to another place."""
    others = [(name, value) for name, value in arguments if name != "addr"]
    return [*others, ("addr", str(place))]
