"""The documentation's page on the plugin options, made from their definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manual.page import definitions, options, transports
from pt_bridge.options.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
.. scripts/man writes this page, from what the program says of itself.

Plugin options
==============

Plugin options are ``key=value`` pairs, joined with ``;``, in one line of text. A
backslash stands before each ``;``, ``=`` and ``\\`` inside a key or a value. A bare
``=`` in a value is fine, as at the end of a cert. In JSON, write each backslash
twice. ss-manager passes the options through a shell, which takes one more level of
backslashes away.

On a command line of ``pt-bridge client`` or ``pt-bridge server``, each option but
``server`` is a flag, too: ``--linger 30``. As a flag it is the owner's own word,
and may say more.

``pt-bridge help options`` prints this page's contents.
"""
OWN = """\
pt-bridge's own
---------------

"client only" and "server only" say on which side an option has a meaning; the
others have one on both. Where a number stands in brackets, it holds if you say
nothing.
"""
MORE = """\
More about some of them:

session
    ``auto``, if you say nothing: speak the session, and find out by itself where
    the server has none. ``1`` always speaks it; a server writes that into its
    clients' line. ``0`` never does. On a server only ``only`` has a meaning: it
    turns away clients without a session. See :doc:`session`.
front
    Only a server's ``front=`` is pt-bridge's own. A client's is an argument of meek
    or snowflake. See :doc:`server`.
linger
    With a session nothing limits a half-closed tunnel. Without one it may be silent
    for 60 s, or for 10 s where nobody can tell whether shadowsocks is still there.
restarts
    A PT that has run for a quiet minute has all its restarts again. ``restarts=0``
    does what SIP003 says to the letter: pt-bridge ends as soon as its PT does.
metrics, geoip, deny, allow, max-per-source, send-proxy-v2, accept-proxy
    Flags alone: plugin options with one of them are refused. See :doc:`server`.
state, logfile, loglevel, unsafe-logging
    Links carry plugin options, so these need the owner's word for more than what is
    harmless. See :doc:`security`.
"""
ARGUMENTS = """\
Arguments of the transports
---------------------------

Every other key is an argument for the transport, and goes to the PT as it is, in
order. ``arg-NAME=VALUE`` sends NAME even where pt-bridge has an option of that
name. For the transports that it knows, pt-bridge says which argument is missing or
misspelt. What is nearly an option of its own (``upstream_proxy=``) is refused, not
sent.

A server writes its clients' whole line to ``client-options.txt``, so you rarely
need this list:
"""


def options_page() -> str:
    """Write the page in reStructuredText."""
    return "\n".join(
        (
            HEAD,
            OWN,
            definitions(options()),
            MORE,
            ARGUMENTS,
            definitions(_arguments()),
        )
    )


def _arguments() -> Iterator[tuple[str, str]]:
    for name, needed in transports():
        side = TRANSPORTS[name].client
        more = sorted(side.takes.difference(*side.needs))
        yield name, f"{needed}{'; may have: ' if more else ''}{', '.join(more)}"
