"""Every exception that pt-bridge raises on purpose.

There are three treatments of errors, and so three families; each leaf carries the exit
code of the contract (the README's table, after sysexits):

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
        * :exc:`Late` (75): the PT was not ready in time
        * :exc:`Died` (75): the PT ended while it was in use
        * :exc:`Misspoke` (76): the PT broke its own specification
        * :exc:`EndedUnready` (76): the PT ended before it was ready
    * :exc:`ProtocolError`: drop this connection, or this line; the rest goes on
        * :exc:`ArgumentsRejected`: the PT could not parse the transport's arguments
        * :exc:`ConnectRefused`: the PT, or the upstream proxy, did not reach the server
        * :exc:`LoginRefused`: the upstream proxy wants a login, or another one
        * :exc:`Unresolved`: the server's name has no address
        * :exc:`Unreached`: no connection to the server could be made
        * :exc:`HungUp`: the server ended the connection during the handshake
        * :exc:`CutAtOnce`: a connection ended as soon as the PT was through
        * :exc:`Unanswered`: the PT gave up a connection that the server took
        * :exc:`DidNotStart`: shadowsocks's own client ended at doctor's start

An error's text is a sentence for a person. It names the key, the variable or the path,
and never the value of an argument.
"""

from __future__ import annotations

import errno

# What the system may be short of for a moment.
SHORTAGES = frozenset(
    {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
)


class PtBridgeError(Exception):
    """The root of all errors that pt-bridge raises on purpose.

    Attributes:
        may_pass: whether the same may succeed a little later.
    """

    may_pass = False


class ConfigError(PtBridgeError):
    """Raised when the operator must change something."""

    exit_code = 64


class UsageError(ConfigError):
    """Raised when an SS_* variable or the command line is wrong."""

    exit_code = 64


class OptionsError(ConfigError):
    """Raised when the plugin options are wrong."""

    exit_code = 65


class ProgramError(ConfigError):
    """Raised when the PT's program cannot be found or started."""

    exit_code = 71


class StateError(ConfigError):
    """Raised when the state directory cannot be made, or not be trusted."""

    exit_code = 73


class ListenError(ConfigError):
    """Raised when a port cannot be listened on."""

    exit_code = 74
    may_pass = True


class OwnerFileError(ConfigError):
    """Raised when the owner's file cannot be believed, read or understood."""

    exit_code = 78


class TransportError(PtBridgeError):
    """Raised when the PT refused, was late or died.

    Attributes:
        reason: the PT's own words on it, or "".
    """

    exit_code = 76

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class NotOffered(TransportError):
    """Raised when the PT does not offer the transport."""

    exit_code = 69


class ProxyRefused(TransportError):
    """Raised when the PT cannot use the upstream proxy."""

    exit_code = 69


class Late(TransportError):
    """Raised when the PT was not ready in time."""

    exit_code = 75
    may_pass = True


class Died(TransportError):
    """Raised when the PT ended while it was in use."""

    exit_code = 75
    may_pass = True


class Misspoke(TransportError):
    """Raised when the PT broke its own specification."""

    exit_code = 76


class EndedUnready(TransportError):
    """Raised when the PT ended before it was ready."""

    exit_code = 76
    may_pass = True


class ProtocolError(PtBridgeError):
    """Raised when a peer's bytes are not what its specification says."""


class ArgumentsRejected(ProtocolError):
    """Raised when the PT could not parse the transport's arguments."""


class ConnectRefused(ProtocolError):
    """Raised when the PT, or the upstream proxy, did not reach the server."""


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
    """Raised when the server ended the connection while the PTs shook hands.

    Attributes:
        was_reset: whether it was a reset, and no end.
        received: the bytes that had come from it.
    """

    def __init__(self, text: str, *, was_reset: bool, received: int) -> None:
        super().__init__(text)
        self.was_reset = was_reset
        self.received = received


class CutAtOnce(ProtocolError):
    """Raised when a connection had ended by the time that the PT was through.

    Attributes:
        was_reset: whether it was a reset, and no end.
    """

    def __init__(self, text: str, *, was_reset: bool) -> None:
        super().__init__(text)
        self.was_reset = was_reset


class Unanswered(ProtocolError):
    """Raised when the server took the connection, and the PT gave it up then.

    Attributes:
        received: the bytes that had come from it.
    """

    def __init__(self, text: str, *, received: int) -> None:
        super().__init__(text)
        self.received = received


class DidNotStart(ProtocolError):
    """Raised when shadowsocks's own client ended as soon as doctor had started it."""
