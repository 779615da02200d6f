"""What is asked for where a tor stands before a client, or behind a server.

All of it is for flags and FILE.toml alone: a link must not lead to programs of this
machine.
"""

from __future__ import annotations

from pt_bridge.errors import OptionsError, ProtocolError
from pt_bridge.options.operator_options import LOCALHOST, PUBLIC, UNIX
from pt_bridge.options.option_values import ONLY
from pt_bridge.protocol.address import Address, is_loopback, parse_host_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pt_bridge.options.option_values import Given, Values
    from pt_bridge.protocol.pt_args import Arguments

# What belongs to one server, and tor says of each bridge, or never speaks.
OF_CONNECTIONS = ("bridge", "session")
# What goes over a session of two pt-bridges.
OF_THE_SESSION = ("preconnect", "udp")


def socks(given: Given) -> Address | None:
    """Return where tors call a client as a PT, or None.

    Raises:
        OptionsError: it is no such place, or others could reach it.
    """
    text = given.values.get("socks")
    if text is None:
        return None
    address = host_and_port("socks", text.removeprefix(PUBLIC))
    is_here = is_loopback(address) or address.host == LOCALHOST
    if not (is_here or text.startswith(PUBLIC)):
        raise OptionsError(
            f"--socks would let other machines use the PT: write "
            f"127.0.0.1:{address.port}, or {PUBLIC}{address} if that is what you want"
        )
    return address


def ext_orport(given: Given) -> Address | None:
    """Return the Extended ORPort of the tor behind a server, or None.

    Raises:
        OptionsError: it is no address and port.
    """
    text = given.values.get("ext-orport")
    return None if text is None else host_and_port("ext-orport", text)


def ext_orport_cookie(given: Given) -> str:
    """Return the file with that port's cookie, or "".

    Raises:
        OptionsError: it is no whole path.
    """
    path = given.values.get("ext-orport-cookie") or ""
    if path and not path.startswith("/"):
        raise OptionsError(
            "--ext-orport-cookie must be a whole path, from its '/': the PT reads "
            "the file, too, and from another folder"
        )
    return path


def tor_control(given: Given) -> Address | str | None:
    """Return the control port of the tor behind a server, or None.

    Raises:
        OptionsError: it is none.
    """
    text = given.values.get("tor-control")
    return None if text is None else control_port(text)


def control_port(text: str) -> Address | str:
    """Read where a control port is: ``HOST:PORT``, or the path of a socket.

    Raises:
        OptionsError: it is neither.
    """
    path = text.removeprefix(UNIX)
    if path.startswith("/"):
        return path
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise OptionsError(
            f"--tor-control is wrong: {error}; or give the path of a socket"
        ) from None


def check(values: Values, arguments: Arguments) -> None:
    """Check that what is asked for of a tor goes together.

    Args:
        values: our own options.
        arguments: the transport's that were given beside them.

    Raises:
        OptionsError: it does not.
    """
    if "socks" in values:
        _check_alone(values, arguments)
    parts = [name in values for name in ("ext-orport", "ext-orport-cookie")]
    if "tor-control" in values and any(parts):
        raise OptionsError(
            "--tor-control finds what --ext-orport and --ext-orport-cookie say: "
            "give the one, or the other two"
        )
    if any(parts) and not all(parts):
        raise OptionsError(
            "--ext-orport HOST:PORT and --ext-orport-cookie FILE go together: the "
            "file is extended_orport_auth_cookie in tor's DataDirectory"
        )
    is_behind = "tor-control" in values or any(parts)
    if is_behind and "send-proxy-v2" in values:
        raise OptionsError(
            "tor takes no PROXY header: leave --send-proxy-v2 out, for tor is told "
            "each client's address at its Extended ORPort"
        )
    if is_behind and values.get("session") == ONLY:
        raise OptionsError(
            f"session={ONLY} lets in no client of Tor's, and behind this server is a "
            f"tor: leave it out"
        )
    if is_behind and "udp" in values:
        raise OptionsError(
            "udp needs a session on both sides, and tor carries TCP alone: leave it out"
        )


def _check_alone(values: Values, arguments: Arguments) -> None:
    """Check that nothing is said which each connection of a tor's says itself."""
    words = [name for name in OF_THE_SESSION if name in values]
    if words:
        raise OptionsError(
            f"with --socks a tor's connections go through the PT as they are, without "
            f"a session: leave out {' and '.join(words)}"
        )
    words = [name for name in OF_CONNECTIONS if name in values]
    words += [key for key, _ in arguments]
    if words:
        names = " ".join(f"{word}=" for word in words)
        raise OptionsError(
            f"with --socks each connection names its bridge and that one's arguments: "
            f"leave out {names}"
        )


def host_and_port(name: str, text: str) -> Address:
    """Read a flag that is ``HOST:PORT``.

    Raises:
        OptionsError: it is not; it names the flag.
    """
    try:
        return parse_host_port(text)
    except ProtocolError as error:
        raise OptionsError(f"--{name} is wrong: {error}") from None
