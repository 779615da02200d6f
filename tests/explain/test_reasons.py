"""Why a connection failed."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from pt_bridge.errors import (
    ArgumentsRejected,
    ConnectRefused,
    HungUp,
    LoginRefused,
    ProtocolError,
    SpeaksOtherwise,
    Unanswered,
    Unreached,
    Unresolved,
)
from pt_bridge.explain.reasons import (
    REFUSALS,
    explain,
    explain_cut,
    explain_no_answer,
    explain_no_session,
    explain_no_start,
    explain_nothing_reached,
    explain_proxy,
    explain_refusal,
    explain_shadowsocks,
    explain_shadowsocks_down,
    explain_silence,
    explain_unaccepted,
    in_tors_words,
)
from pt_bridge.explain.remedies import advise
from pt_bridge.protocol.frames import Cause


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectRefused("the PT answered with SOCKS reply 1"), "SOCKS reply 1"),
        (ProtocolError("the PT's answer is not SOCKS5"), "not SOCKS5"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not"),
        (TimeoutError(), "(no answer in time)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_connection_may_have_many_causes(
    error: ProtocolError | OSError, why: str
) -> None:
    """ER-13, SK-10, PF-8: all look the same from here, so all are named."""
    text = explain(error)
    assert why in text
    for cause in ("down or blocked", "its address", "or port", "cert"):
        assert cause in text
    assert "clock" in text


@pytest.mark.parametrize(
    ("seconds", "proxy", "is_there"),
    [(0.1, False, False), (49.0, False, True), (None, False, True), (0.1, True, True)],
)
def test_who_refuses_at_once_is_most_likely_not_there(
    seconds: float | None, *, proxy: bool, is_there: bool
) -> None:
    """SK-10: the PT does not tell, and how long it takes does."""
    error = ConnectRefused("the PT answered with SOCKS reply 1")
    text = explain(error, proxy=proxy, seconds=seconds)
    begin = f"a connection failed ({error}): most likely nothing listens at the server"
    assert text.startswith(begin) is not is_there
    assert "down or blocked" in text


# What each says and no other does: what a connection of our own tells is so much.
MISSPELT, NOBODY_LISTENS = "may be misspelt", "nothing listens on that port"
CUT_OFF, DISLIKED = "a firewall in between", "did not like what it saw"
ANOTHER = "the server speaks, but not this transport"
ALL_SEEN = (MISSPELT, NOBODY_LISTENS, CUT_OFF, DISLIKED, ANOTHER)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (Unresolved("no such name"), MISSPELT),
        (Unreached("it refuses", errno.ECONNREFUSED), NOBODY_LISTENS),
        (Unreached("it is silent", errno.ETIMEDOUT), CUT_OFF),
        (Unreached("no way", errno.ENETUNREACH), CUT_OFF),
        (HungUp("it hung up", was_reset=False), DISLIKED),
        (HungUp("it hung up", was_reset=True), DISLIKED),
        (Unanswered("it is silent"), DISLIKED),
        (SpeaksOtherwise("it answers"), ANOTHER),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("proxy", [False, True])
def test_what_our_own_connection_tells_narrows_the_causes_down(
    error: ProtocolError, seen: str, *, proxy: bool
) -> None:
    """ER-13, demands 29: doctor dials the server, too, and the PT is none the wiser."""
    text = explain(error, proxy=proxy)
    assert text.startswith(f"a connection failed ({error}): ")
    assert [each for each in ALL_SEEN if each in text] == [seen]
    assert "down or blocked" not in text


def test_who_does_not_answer_at_all_is_most_likely_behind_a_firewall() -> None:
    text = explain(Unreached("it is silent", errno.ETIMEDOUT))
    assert "): most likely a firewall in between drops what is sent there" in text
    assert "most likely" not in explain(Unreached("no way", errno.ENETUNREACH))


def test_a_server_that_hangs_up_may_be_a_matter_of_the_clock() -> None:
    """ER-13: obfs4 and scramblesuit go by the hour; who answers has understood it."""
    silent = explain(Unanswered(""))
    assert "clock off by an hour" in silent
    assert "clock" not in explain(SpeaksOtherwise(""))


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        (None, ", or this machine's clock off by an hour"),
        (False, "clock off by an hour (no time service sets it)"),
    ],
)
def test_a_clock_that_nobody_keeps_right_is_said_to_be_one(
    clock: bool | None,  # noqa: FBT001 - as the function has it
    words: str,
) -> None:
    """ER-13: what the kernel tells narrows the causes down."""
    error = ConnectRefused("the PT answered with SOCKS reply 1")
    assert explain(error, clock=clock).endswith(words)
    assert explain(Unanswered(""), clock=clock).endswith(words)
    assert explain_silence(10, clock=clock).endswith(words)


@pytest.mark.parametrize("error", [ConnectRefused(""), Unanswered("")])
def test_a_clock_that_is_kept_right_is_no_suspect(error: ProtocolError) -> None:
    text = explain(error, clock=True)
    assert "clock" not in text
    assert ", or " in text
    assert ", ," not in text


@pytest.mark.parametrize(("was_reset", "how"), [(True, "reset"), (False, "closed")])
def test_a_connection_that_is_cut_at_once_points_behind_the_server(
    how: str, *, was_reset: bool
) -> None:
    """SK-12: the PTs are through, so it is none of theirs."""
    text = explain_cut(was_reset=was_reset)
    assert f"{how} it at once" in text
    assert "shadowsocks server behind it" in text
    assert "cert" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (explain_unaccepted(), "accepted nothing on them: it may keep this"),
        (explain_no_session("closed it"), "let a connection in, and closed it: that"),
        (explain_nothing_reached("closed it"), "(the server, or nobody at all, closed"),
        (explain_proxy(OSError(111, "Refused")), "(refused): it may be down"),
        (explain_proxy(TimeoutError()), "(no answer in time)"),
        (explain_shadowsocks_down(OSError(111, "Refused")), "does it listen where"),
        (explain_no_answer("it was closed"), "(it was closed): its password"),
        (explain_no_start("ss-local", "oh no"), "started: oh no"),
        (explain_no_start("ss-local", ""), "it said nothing"),
    ],
)
def test_every_other_sentence_says_why(text: str, words: str) -> None:
    assert words in text


def test_what_a_server_refuses_is_told_unless_it_is_nobodys_fault() -> None:
    for cause in REFUSALS:
        assert explain_refusal(cause) == REFUSALS[cause]
    for cause in (Cause.CUT, Cause.SEEN, Cause.UNKNOWN):
        assert explain_refusal(cause) == ""


def test_a_login_that_the_upstream_proxy_refuses_has_one_cause() -> None:
    """ER-13: the server was not even asked for."""
    text = explain(LoginRefused("the upstream proxy refuses the login"), proxy=True)
    assert text == (
        "a connection failed (the upstream proxy refuses the login): look at "
        "upstream-proxy="
    )


def test_a_pt_that_refuses_is_not_blamed_on_the_server() -> None:
    """ER-13: its own port is on this machine."""
    text = explain(ConnectionRefusedError(111, "Connection refused"))
    assert "the PT itself refused it" in text
    assert "server_port" not in text


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "(connection refused)"),
        (TimeoutError(), "(no answer in time)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_host_that_does_not_answer_is_named(error: OSError, why: str) -> None:
    """EO-09, demands 29: which side refused."""
    text = explain_shadowsocks(error)
    assert why in text
    assert "does it listen where pt-bridge was told" in text


def test_an_upstream_proxy_may_be_the_cause() -> None:
    """ER-13: where there is one, it is named first."""
    error = ConnectRefused("the PT answered with SOCKS reply 1")
    assert "the upstream proxy or the server may be down" in explain(error, proxy=True)
    assert "proxy" not in explain(error)
    assert "the upstream proxy" in explain_silence(10, proxy=True)


def test_silence_may_have_the_same_causes() -> None:
    """SK-11: a PT takes a minute to say so, and a user gives up before."""
    text = explain_silence(10.0)
    assert text.startswith("no answer to a connection in 10 s so far: the server may ")
    assert "another server's" in text


def test_rejected_arguments_have_one_cause() -> None:
    """ER-12: no server was asked yet."""
    text = explain(ArgumentsRejected("the PT did not understand the arguments"))
    assert text == (
        "the PT did not understand the arguments: copy the server's line whole, "
        "escapes included"
    )


@pytest.mark.parametrize(
    "error",
    [
        Unresolved("x"),
        Unreached("x", errno.ECONNREFUSED),
        Unreached("x", errno.ETIMEDOUT),
        TimeoutError(),
        ArgumentsRejected("x"),
    ],
)
def test_who_uses_tor_reads_of_no_shadowsocks(error: ProtocolError | OSError) -> None:
    text = in_tors_words(f"{explain(error)}; {advise(error)}")
    for word in ("shadowsocks", "--remote", "client-options.txt"):
        assert word not in text


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_this_machine_is_short_of_is_not_laid_on_the_server(number: int) -> None:
    text = explain(OSError(number, os.strerror(number)))
    assert "this machine is short of something" in text
    assert os.strerror(number).lower() in text
    assert "LimitNOFILE=" in text
    assert "server" not in text
