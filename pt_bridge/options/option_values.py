"""The values of pt-bridge's own options: text in, numbers, words and paths out.

Each reader belongs to an entry of `pt_bridge.options.own_options.OPTIONS`, and reads
what `Given` holds. None of them shows a value that it refuses.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.options.plugin_options import Via
from pt_bridge.options.transports import TRANSPORTS
from pt_bridge.protocol.pt_args import is_method_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.formats.bridge_line import BridgeLine

    Values = Mapping[str, str | None]

DEFAULT_START_TIMEOUT = 30.0
MAX_SECONDS = 86_400
MAX_SECONDS_DIGITS = 9
LOG_LEVELS = ("error", "warning", "info", "debug")
DEFAULT_LOG_LEVEL = "info"
AUTO, ALWAYS, NEVER, ONLY = "auto", "1", "0", "only"
SESSIONS = (AUTO, ALWAYS, NEVER)
DEFAULT_RESTARTS = 5
MAX_RESTARTS = 1000
MAX_RESTARTS_DIGITS = 4
MAX_PRECONNECT = 32  # as many as are kept idle
# What bridges= may be: no path, since links can carry it.
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
MAX_NAME = 64
# Between the values of an option that may be repeated: no plugin option can hold one.
BETWEEN = "\n"
TOR_BRIDGE = (
    "the bridge line has a fingerprint, as Tor's bridges have: those lead only to Tor, "
    "and never to a shadowsocks server"
)
# Where the owner of the machine allows what plugin options may not ask for.
OWNERS_FILES = "/etc/pt-bridge.conf or ~/.config/pt-bridge.conf"


def _nothing(option: str) -> bool:
    return False


class Given:
    """Our own options as they were given, for the readers.

    Attributes:
        values: the text of each, None for a flag; the values of an option that may be
            repeated are joined by `BETWEEN`.
        server: whether they are a server's.
        is_allowed: tells whether the owner lets plugin options set one as they like.
    """

    __slots__ = ("_lines", "is_allowed", "server", "values")

    def __init__(
        self,
        values: Values,
        *,
        server: bool = False,
        is_allowed: Callable[[str], bool] = _nothing,
    ) -> None:
        self.values = values
        self.server = server
        self.is_allowed = is_allowed
        self._lines: list[BridgeLine] = []

    def texts(self, key: str) -> list[str]:
        """Return the values of an option that may be repeated, in order."""
        value = self.values.get(key)
        return [] if value is None else value.split(BETWEEN)

    def bridge_lines(self) -> list[BridgeLine]:
        """Return the bridge lines, in order; they are parsed only once.

        Raises:
            OptionsError: one is none.
        """
        text = self.values.get("bridge")
        if text is not None and not self._lines:
            self._lines = _bridge_lines(self.texts("bridge"))
        return self._lines


def _bridge_lines(texts: Sequence[str]) -> list[BridgeLine]:
    # Rarely asked for, and shadowsocks may be waiting for the port.
    from pt_bridge.formats import bridge_line

    try:
        return bridge_line.parse_each(texts, TRANSPORTS)
    except ProtocolError as error:
        raise OptionsError(f"bridge= {error}") from None


def choice(values: Values, key: str, allowed: Sequence[str]) -> str | None:
    """Return the value of an option that must be one of a few, or None without it."""
    value = values.get(key)
    if value is not None and value not in allowed:
        raise OptionsError(f"{key}= must be one of: {', '.join(allowed)}")
    return value


def seconds(values: Values, key: str) -> float | None:
    """Return the value of an option in seconds, 0 to 86,400, or None without it.

    Fractions are allowed.
    """
    value = values.get(key)
    if value is None:
        return None
    whole, point, fraction = value.partition(".")
    if (
        not (value.isascii() and whole.isdigit() and len(value) <= MAX_SECONDS_DIGITS)
        or (point and not fraction.isdigit())
        or float(value) > MAX_SECONDS
    ):
        raise OptionsError(f"{key}= must be seconds, from 0 to {MAX_SECONDS}")
    return float(value)


def path(values: Values, key: str, is_allowed: Callable[[str], bool]) -> str | None:
    """Return the value of an option that names a file or folder, or None without it.

    Args:
        values: the options.
        key: which one.
        is_allowed: tells whether the owner allows any path. Plugin options travel in
            links, so from them it must otherwise stay below the state directory.
    """
    value = values.get(key)
    if value is None or not (value.startswith("/") or ".." in value.split("/")):
        return value
    if not is_allowed(key):
        raise OptionsError(
            f"{key}= in plugin options must stay below the state directory: a relative "
            f"path without '..'; for any other, {_how_to_allow(key)}"
        )
    return value


def owner_only(key: str, asked: str) -> OptionsError:
    """Create the error for what plugin options may not ask for, of themselves."""
    return OptionsError(
        f"{asked} is refused in plugin options, since links can carry them: "
        f"{_how_to_allow(key)}"
    )


def flag_only(key: str, side: str) -> OptionsError:
    """Create the error for what plugin options may never ask for."""
    commands = [f"'pt-bridge {each}'" for each in ("client", "server")]
    named = f"'pt-bridge {side}'" if side else " or ".join(commands)
    return OptionsError(
        f"'{key}' is refused in plugin options, since links can carry them: use the "
        f"flag --{key} of {named}"
    )


def _how_to_allow(key: str) -> str:
    return (
        f"add the line 'AllowPluginOption {key}' to {OWNERS_FILES}, or use the flag "
        f"--{key} of 'pt-bridge client' or 'pt-bridge server'"
    )


def server(given: Given) -> bool:
    """Whether we are the server side."""
    return given.server


def transport(given: Given) -> str:
    """Return the transport's name (pt-spec 3.1); a bridge line may be what says it.

    Raises:
        OptionsError: nothing says it, or it is no name.
    """
    lines = given.bridge_lines()
    if lines:
        return lines[0].transport
    name = given.values.get("transport")
    if name is None:
        raise OptionsError(
            "the plugin options do not name the transport: add transport=obfs4, or the "
            "one that the other side uses"
        )
    if not is_method_name(name):
        if name.startswith(
            tuple(f"{each}{mark}" for each in TRANSPORTS for mark in ", &|")
        ):
            raise OptionsError("the plugin options must be joined with ';'")
        raise OptionsError(
            "transport= must be a transport's name: letters, digits and '_', the first "
            "no digit"
        )
    return name


def program(given: Given) -> str | None:
    """Return which PT program is asked for, or None for one that offers the transport.

    Which of them may be asked for is for the owner's files to say.
    """
    return given.values.get("exec")


def session(given: Given) -> str:
    """Return what is asked of the session: one of `SESSIONS`, or `ONLY`.

    A server knows its clients by what they say, so it opens none of itself: it has
    `NEVER`, or `ONLY` to turn away clients without a session.

    Raises:
        OptionsError: it is not for this side.
    """
    if given.server:
        return ONLY if _only_sessions(given.values) else NEVER
    if given.values.get("session") == ONLY:
        raise OptionsError(
            f"session={ONLY} is for servers: a client takes one of: "
            f"{', '.join(SESSIONS)}"
        )
    asked = choice(given.values, "session", SESSIONS)
    if asked is None:
        # Tor's bridges are known never to speak it.
        is_tors = any(line.fingerprint is not None for line in given.bridge_lines())
        asked = NEVER if is_tors else AUTO
    if "udp" in given.values:
        if asked == NEVER:
            raise _no_udp(is_asked="session" in given.values)
        return ALWAYS  # nothing else carries it
    return asked


def _no_udp(*, is_asked: bool) -> OptionsError:
    if is_asked:
        return OptionsError(
            "'udp' needs the session, and session=0 is without one: leave one of them "
            "out"
        )
    return OptionsError(f"'udp' needs a pt-bridge on the server, and {TOR_BRIDGE}")


def _only_sessions(values: Values) -> bool:
    value = values.get("session")
    if value in SESSIONS:
        raise OptionsError(
            f"session={value} is for clients: a server serves those with a "
            f"session and those without, so leave it out, or write session={ONLY}"
        )
    if value not in (None, ONLY):
        raise OptionsError(
            f"session= of a server can only be {ONLY}, which turns away clients "
            f"without a session: write session={ONLY}, or leave it out"
        )
    return value == ONLY


def preconnect(given: Given) -> int | None:
    """Return how many connections a client makes ready; None: as many as seem needed.

    A server makes none.
    """
    value = given.values.get("preconnect") or AUTO
    if given.server:
        return 0
    if value == AUTO:
        return None
    digits = value.isascii() and value.isdigit()
    if not digits or len(value) > MAX_RESTARTS_DIGITS or int(value) > MAX_PRECONNECT:
        raise OptionsError(
            f"preconnect= must be {AUTO}, or a number from 0 to {MAX_PRECONNECT}"
        )
    return int(value)


def front(given: Given) -> bool:
    """Whether a server is asked to listen in front of its PT."""
    return choice(given.values, "front", ("yes", "no")) == "yes"


def linger(given: Given) -> float | None:
    """Return how long a half-closed tunnel may be silent (seconds); None: the usual."""
    return seconds(given.values, "linger")


def idle(given: Given) -> float | None:
    """Return how long any tunnel may be silent (seconds); None: no limit."""
    return seconds(given.values, "idle") or None


def restarts(given: Given) -> int:
    """Return how many deaths of the PT are forgiven, 0 to 1,000."""
    value = given.values.get("restarts", str(DEFAULT_RESTARTS)) or ""
    digits = value.isascii() and value.isdigit()
    if not digits or len(value) > MAX_RESTARTS_DIGITS or int(value) > MAX_RESTARTS:
        raise OptionsError(f"restarts= must be a number from 0 to {MAX_RESTARTS}")
    return int(value)


def start_timeout(given: Given) -> float:
    """Return how long the PT may take to be ready (seconds)."""
    value = seconds(given.values, "start-timeout")
    if value == 0.0:
        raise OptionsError("start-timeout= must be more than 0 seconds")
    return DEFAULT_START_TIMEOUT if value is None else value


def loglevel(given: Given) -> str:
    """Return the log's level, one of `LOG_LEVELS`."""
    level = choice(given.values, "loglevel", LOG_LEVELS) or DEFAULT_LOG_LEVEL
    if level == "debug" and not given.is_allowed("loglevel"):
        raise owner_only("loglevel", "loglevel=debug")
    return level


def logfile(given: Given) -> str | None:
    """Return the path of a file to log to, or None without one."""
    return path(given.values, "logfile", given.is_allowed)


def state(given: Given) -> str | None:
    """Return the path of the PT's folder, or None for the usual one."""
    return path(given.values, "state", given.is_allowed)


def unsafe_logging(given: Given) -> bool:
    """Whether addresses stay in the logs."""
    is_asked = "unsafe-logging" in given.values
    if is_asked and not given.is_allowed("unsafe-logging"):
        raise owner_only("unsafe-logging", "unsafe-logging")
    return is_asked


def bridges(values: Values) -> str | None:
    """Return the name of the file with the bridge lines, or None without one.

    Raises:
        OptionsError: it is none, or what it holds is said beside it, too.
    """
    name = values.get("bridges")
    if name is None:
        return None
    beside = [f"{key}=" for key in ("bridge", "transport") if key in values]
    if beside:
        raise OptionsError(
            f"bridges= names a file that holds it all: leave out {' and '.join(beside)}"
        )
    if not NAME.issuperset(name) or len(name) > MAX_NAME:
        raise OptionsError(
            "bridges= must be the name of a file NAME.bridges: letters, digits, '-' "
            "and '_'"
        )
    return name


def bridge(given: Given) -> list[BridgeLine]:
    """Return the bridge lines, in order.

    Raises:
        OptionsError: one is none, or there twice, or transport= is there, too.
    """
    if "bridge" in given.values and "transport" in given.values:
        raise OptionsError(
            "bridge= names the transport, too: leave out transport=, or bridge="
        )
    lines = given.bridge_lines()
    if len({str(line) for line in lines}) < len(lines):
        raise OptionsError("'bridge' is given twice with the same line: leave one out")
    return lines


def via(given: Given) -> Via | None:
    """Return the plugin between the PT and the Internet, or None without one."""
    name = given.values.get("via")
    return None if name is None else Via(name, via_opts(given))


def via_opts(given: Given) -> str:
    """Return that plugin's own options, "" for none.

    Raises:
        OptionsError: they are there, and no plugin is.
    """
    options = given.values.get("via-opts")
    if options is not None and "via" not in given.values:
        raise OptionsError("via-opts= is for the plugin that via= names: add via=")
    return options or ""
