"""Whether a byte comes back through shadowsocks, and everything behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pt_bridge.doctor import ss_local
from pt_bridge.doctor.report import failed, ok, skipped
from pt_bridge.doctor.ss_local import SsLocal
from pt_bridge.errors import NO_ANSWER, DidNotStart, ProtocolError
from pt_bridge.explain import reasons, remedies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pt_bridge.doctor.report import CheckResult
    from pt_bridge.formats.profile import Profile
    from pt_bridge.protocol.address import Address

# How long an answer may take that comes through everything (seconds).
ANSWER_LIMIT = 20.0
MAX_LINE = 80  # characters of the answer that are shown


async def look(
    profile: Profile,
    through: Address | None,
    flags: Sequence[str],
    variables: Mapping[bytes, bytes],
    *,
    limit: float = ANSWER_LIMIT,
    scrub: Callable[[str], str] = str,
) -> CheckResult:
    """Ask a web server through shadowsocks's own client; return what comes of it.

    Args:
        profile: all that shadowsocks must know.
        through: the web server, or None where nobody has named one.
        flags: our own options that are no plugin options, as a command line has them.
        variables: our environment.
        limit: how long it may take, in seconds.
        scrub: takes the secrets out of what programs wrote.
    """
    if profile.password is None and "key" not in profile.others:
        return skipped(
            "no request was sent through shadowsocks: that takes its whole "
            "configuration",
            "give doctor the config.json or the ss:// link, and --through HOST:PORT",
        )
    if through is None:
        return skipped(
            "no request was sent through shadowsocks",
            "add --through HOST:PORT, a web server that the server can reach",
        )
    program = ss_local.find(variables)
    if program is None:
        return skipped(
            "there is no ss-local on this machine to send a request through",
            "install it (Debian: apt install shadowsocks-libev)",
        )
    return await _ask(
        SsLocal(program, profile, flags, variables), through, limit, scrub
    )


async def _ask(
    host: SsLocal, through: Address, limit: float, scrub: Callable[[str], str]
) -> CheckResult:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    went_around = False
    try:
        async with asyncio.timeout(limit), host:
            first = await host.ask(through)
            went_around = bool(first) and await host.went_around()
    except DidNotStart as error:
        text = str(error)
        if error.words:
            text = text.replace(error.words, scrub(error.words))
        return failed(text, NO_ANSWER)
    except (ProtocolError, OSError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        first = b""
    else:
        why = "the connection was closed"
    if first:
        line = first.partition(b"\r\n")[0].decode("utf-8", "backslashreplace")
        text = f"{through}: {scrub(line)[:MAX_LINE]} ({loop.time() - begun:.2f} s)"
        if went_around:
            return skipped(
                f"{text}; but acl= has sent that request around the server, so it "
                f"proves nothing",
                "ask with --through a web server that the acl does not list",
            )
        return ok(text)
    first_words = f"ss-local says: {scrub(host.own_error)}; " if host.own_error else ""
    words = f"; {scrub(host.complaint)}" if host.complaint else ""
    text = f"{first_words}{reasons.explain_no_answer(why)}{words}"
    return failed(text, NO_ANSWER, remedies.ADVICE_IF_NO_ANSWER)
