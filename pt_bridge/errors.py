"""Every exception that pt-bridge raises on purpose.

There are three treatments of errors, and so three families; each leaf carries the exit
code of the contract (docs/troubleshooting.rst, after sysexits):

* :exc:`PtBridgeError`
    * :exc:`ConfigError`: the operator must change something; pt-bridge ends
        * :exc:`UsageError` (64): an SS_* variable or the command line
        * :exc:`OptionsError` (65): the plugin options
        * :exc:`ProgramError` (71): the PT's program cannot be found or started
        * :exc:`StateError` (73): the state directory cannot be made or trusted
        * :exc:`ListenError` (74): a port cannot be listened on
        * :exc:`OwnerFileError` (78): pt-bridge.conf cannot be believed or understood
    * :exc:`TransportError`: the PT refused, was late or died; pt-bridge ends
        * :exc:`NotOffered` (69): the PT does not offer the transport
        * :exc:`ProxyRefused` (69): the PT cannot use the upstream proxy
        * :exc:`ResolverFailed` (75): the DNS was not there in time
        * :exc:`TorUnreached` (75): the tor behind could not be reached in time
        * :exc:`PtStartTimeout` (75): the PT was not ready in time
        * :exc:`PtExited` (75): the PT ended while it was in use
        * :exc:`PtProtocolViolation` (76): the PT broke its own specification
        * :exc:`PtExitedBeforeReady` (76): the PT ended before it was ready
    * :exc:`Bug` (70): ours, and the log has it; pt-bridge ends
    * :exc:`ProtocolError`: drop this connection, or this line; the rest goes on
        * :exc:`ArgumentsRejected`: the PT could not parse the transport's arguments
        * :exc:`ConnectRefused`: the PT, or the upstream proxy, did not reach the server
        * :exc:`CookieRefused`: tor's Extended ORPort has another cookie
        * :exc:`Denied`: tor's Extended ORPort did not take a connection
        * :exc:`LoginRefused`: the upstream proxy wants a login, or another one
        * :exc:`Unresolved`: the server's name has no address
        * :exc:`Unreached`: no connection to the server could be made
        * :exc:`HungUp`: the server takes connections, and ends them without a word
        * :exc:`SpeaksOtherwise`: what listens at the server's port is no such PT
        * :exc:`Unanswered`: the server takes connections, and none came through the PT
        * :exc:`DidNotStart`: shadowsocks's own client ended at doctor's start

An error's text is a sentence for a person. It names the key, the variable or the path,
and never the value of an argument.
"""

from __future__ import annotations

import errno

# The exit codes; those from 64 to 78 are named and numbered as in sysexits.h.
STOPPED = 0
USAGE, OPTIONS = 64, 65
NO_ANSWER, NOT_PROVEN, NO_HOST = 66, 67, 68
UNAVAILABLE, BUG, NO_PROGRAM = 69, 70, 71
NO_STATE, NO_PORT = 73, 74
LATE, PROTOCOL = 75, 76
NO_ENTRY = 77
OWNER_FILE = 78
INTERRUPTED, TERMINATED = 130, 143
# What each means, in a few words for --help, and in a sentence.
EXIT_CODES = {
    STOPPED: ("asked to stop", "stopped as asked"),
    USAGE: (
        "usage",
        "an SS_* variable (from shadowsocks) or the command line is wrong",
    ),
    OPTIONS: (
        "plugin options",
        "the plugin options are wrong, or what ``convert`` was given",
    ),
    UNAVAILABLE: (
        "transport or proxy refused",
        "the PT does not offer the transport, or refuses the proxy",
    ),
    BUG: ("bug", "a bug in pt-bridge: please report it"),
    NO_PROGRAM: ("PT program", "the PT program is missing or cannot run"),
    NO_STATE: ("state directory", "the state directory cannot be used"),
    NO_PORT: ("port", "the port cannot be listened on"),
    LATE: (
        "PT late or dead",
        (
            "the PT was too late to start, or died while in use; or the DNS, or the "
            "tor behind, was not there in time"
        ),
    ),
    PROTOCOL: (
        "PT misbehaves",
        "the PT broke its protocol, or ended before it was ready",
    ),
    OWNER_FILE: (
        "pt-bridge.conf",
        "pt-bridge.conf is wrong, or others may write to it",
    ),
}
# The same for those that only ``pt-bridge doctor`` has.
DOCTORS_EXIT_CODES = {
    NO_ANSWER: (
        "no answer, or no shadowsocks server",
        "nothing comes back, or the server's shadowsocks is down",
    ),
    NOT_PROVEN: (
        "nothing is broken, and nothing proves that the server is there",
        "nothing is broken that it can see, and nothing proves the server is there",
    ),
    NO_HOST: ("no way to the server", "no way to the server"),
    NO_ENTRY: ("the server does not let us in", "the server does not let us in"),
    INTERRUPTED: ("a signal", "Ctrl-C"),
    TERMINATED: ("a signal", "SIGTERM"),
}
BUG_TEXT = "internal error: please report the lines above"
# What the system may be short of for a moment.
SHORTAGES = frozenset(
    {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
)


class PtBridgeError(Exception):
    """The root of all errors that pt-bridge raises on purpose.

    Attributes:
        is_temporary: whether the same may succeed a little later.
    """

    is_temporary = False


class ConfigError(PtBridgeError):
    """Raised when the operator must change something."""

    exit_code = USAGE


class UsageError(ConfigError):
    """Raised when an SS_* variable or the command line is wrong."""

    exit_code = USAGE


class OptionsError(ConfigError):
    """Raised when the plugin options are wrong."""

    exit_code = OPTIONS


class ProgramError(ConfigError):
    """Raised when the PT's program cannot be found or started."""

    exit_code = NO_PROGRAM


class StateError(ConfigError):
    """Raised when the state directory cannot be made, or not be trusted."""

    exit_code = NO_STATE


class ListenError(ConfigError):
    """Raised when a port cannot be listened on.

    Attributes:
        number: the errno, or 0.
    """

    exit_code = NO_PORT
    is_temporary = True
    number = 0


class OwnerFileError(ConfigError):
    """Raised when the owner's file cannot be believed, read or understood."""

    exit_code = OWNER_FILE


class TransportError(PtBridgeError):
    """Raised when the PT refused, was late or died.

    Attributes:
        reason: the PT's own words on it, or "".
    """

    exit_code = PROTOCOL

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class NotOffered(TransportError):
    """Raised when the PT does not offer the transport."""

    exit_code = UNAVAILABLE


class ProxyRefused(TransportError):
    """Raised when the PT cannot use the upstream proxy."""

    exit_code = UNAVAILABLE


class ResolverFailed(TransportError):
    """Raised when a name could not be looked up, and may be a little later."""

    exit_code = LATE
    is_temporary = True


class TorUnreached(TransportError):
    """Raised when the tor behind a server could not be reached, and may be later."""

    exit_code = 75
    is_temporary = True


class PtStartTimeout(TransportError):
    """Raised when the PT was not ready in time."""

    exit_code = LATE
    is_temporary = True


class PtExited(TransportError):
    """Raised when the PT ended while it was in use."""

    exit_code = LATE
    is_temporary = True


class PtProtocolViolation(TransportError):
    """Raised when the PT broke its own specification."""

    exit_code = PROTOCOL


class PtExitedBeforeReady(TransportError):
    """Raised when the PT ended before it was ready."""

    exit_code = PROTOCOL
    is_temporary = True


class Bug(PtBridgeError):
    """Raised when the log has told what nobody had foreseen."""

    exit_code = BUG


class ProtocolError(PtBridgeError):
    """Raised when a peer's bytes are not what its specification says."""


class ArgumentsRejected(ProtocolError):
    """Raised when the PT could not parse the transport's arguments."""


class ConnectRefused(ProtocolError):
    """Raised when the PT, or the upstream proxy, did not reach the server.

    Attributes:
        seconds: how long a PT took to say so that dials the server itself, or None.
    """

    seconds: float | None = None


class CookieRefused(ProtocolError):
    """Raised when tor's Extended ORPort has another cookie than its file held."""


class Denied(ProtocolError):
    """Raised when tor's Extended ORPort did not take a connection."""


class LoginRefused(ProtocolError):
    """Raised when the upstream proxy wants a user name and a password, or others."""


class Unresolved(ProtocolError):
    """Raised when the server's name has no address."""


class Unreached(ProtocolError):
    """Raised when no TCP connection to the server could be made.

    Attributes:
        errno: the system's word for it; ETIMEDOUT where there was no answer.
    """

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.errno = number


class HungUp(ProtocolError):
    """Raised when the server takes connections, and ends them without a word.

    Attributes:
        was_reset: whether it was a reset, and no end.
    """

    def __init__(self, text: str, *, was_reset: bool) -> None:
        super().__init__(text)
        self.was_reset = was_reset


class SpeaksOtherwise(ProtocolError):
    """Raised when what listens at the server's port answers as no such PT does."""


class Unanswered(ProtocolError):
    """Raised when the server takes connections, and none came through the PT."""


class DidNotStart(ProtocolError):
    """Raised when shadowsocks's own client ended as soon as doctor had started it.

    Attributes:
        words: what it wrote, or "".
    """

    def __init__(self, text: str, words: str = "") -> None:
        super().__init__(text)
        self.words = words
