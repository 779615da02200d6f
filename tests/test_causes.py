"""Why a connection failed, and how often that is told."""

from __future__ import annotations

import errno
import socket

import pytest

from pt_bridge.causes import (
    INTERVAL,
    WORDS,
    Complaints,
    advise,
    explain,
    explain_cut,
    explain_host,
    explain_host_down,
    explain_no_answer,
    explain_no_start,
    explain_plain,
    explain_proxy,
    explain_silence,
    explain_words,
)
from pt_bridge.errors import (
    ArgumentsRejected,
    ConnectRefused,
    CutAtOnce,
    HungUp,
    LoginRefused,
    OptionsError,
    ProtocolError,
    ProxyRefused,
    Unanswered,
    Unreached,
    Unresolved,
)


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
    for cause in ("down or blocked", "SS_REMOTE_HOST", "SS_REMOTE_PORT", "cert"):
        assert cause in text
    assert "clock" in text


# What each says and no other does: what was seen on the wire tells so much.
MISSPELT, NOBODY_LISTENS = "may be misspelt", "nothing listens on SS_REMOTE_PORT"
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
        (HungUp("it hung up", was_reset=False, received=0), DISLIKED),
        (HungUp("it hung up", was_reset=True, received=0), DISLIKED),
        (Unanswered("it is silent", received=0), DISLIKED),
        (HungUp("it hung up", was_reset=False, received=1), ANOTHER),
        (Unanswered("it is silent", received=512), ANOTHER),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("proxy", [False, True])
def test_what_was_seen_on_the_wire_narrows_the_causes_down(
    error: ProtocolError, seen: str, *, proxy: bool
) -> None:
    """ER-13, demands 29: with both ends of the PT held, we dialled ourselves."""
    text = explain(error, proxy=proxy)
    assert text.startswith(f"a connection failed ({error}): ")
    assert [each for each in ALL_SEEN if each in text] == [seen]
    assert "down or blocked" not in text


def test_a_server_that_hangs_up_may_be_a_matter_of_the_clock() -> None:
    """ER-13: obfs4 and scramblesuit go by the hour; who answers has understood it."""
    silent = explain(Unanswered("", received=0))
    assert "clock off by an hour" in silent
    assert "clock" not in explain(Unanswered("", received=1))


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        (None, ", or this machine's clock off by an hour"),
        (False, "clock off by an hour (nothing keeps it right at the moment)"),
    ],
)
def test_a_clock_that_nobody_keeps_right_is_said_to_be_one(
    clock: bool | None,  # noqa: FBT001 - as the function has it
    words: str,
) -> None:
    """ER-13: what the kernel tells narrows the causes down."""
    error = ConnectRefused("the PT answered with SOCKS reply 1")
    assert explain(error, clock=clock).endswith(words)
    assert explain(Unanswered("", received=0), clock=clock).endswith(words)
    assert explain_silence(10, clock=clock).endswith(words)


@pytest.mark.parametrize("error", [ConnectRefused(""), Unanswered("", received=0)])
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
    text = explain(CutAtOnce("it ended", was_reset=was_reset))
    assert text == explain_cut(was_reset=was_reset)
    assert f"{how} it at once" in text
    assert "shadowsocks server behind it" in text
    assert "cert" not in text


ADVICE = [
    (LoginRefused(""), "upstream-proxy="),
    (ArgumentsRejected(""), "client-options.txt"),
    (Unresolved(""), "resolver"),
    (Unreached("", errno.ECONNREFUSED), "on the server"),
    (Unreached("", errno.ETIMEDOUT), "firewall"),
    (HungUp("", was_reset=True, received=0), "another network"),
    (HungUp("", was_reset=False, received=0), "client-options.txt"),
    (HungUp("", was_reset=True, received=1), "client-options.txt"),
    (Unanswered("", received=0), "client-options.txt"),
    (ConnectRefused(""), "client-options.txt"),
    (TimeoutError(), "client-options.txt"),
]


@pytest.mark.parametrize(
    ("error", "words"), ADVICE, ids=lambda value: type(value).__name__
)
def test_there_is_something_to_try_next(error: Exception, words: str) -> None:
    """Issue 6, item 1."""
    assert words in advise(error)


@pytest.mark.parametrize("error", [ConnectionRefusedError(), OptionsError("set it")])
def test_nothing_is_added_to_a_sentence_that_says_what_to_do(error: Exception) -> None:
    assert advise(error) == ""


def test_what_stands_between_is_looked_at_first() -> None:
    assert "upstream proxy" in advise(ConnectRefused(""), proxy=True)
    assert "clock" in advise(ConnectRefused(""), clock=False)
    assert "clock" not in advise(ConnectRefused(""), clock=True)


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("dial tcp 192.0.2.1:1: connect: connection refused", "nothing listens"),
        ("tls: failed to verify certificate: x509: signed by x", "somebody in between"),
        ("x509: certificate has expired or is not yet valid: x", "clock"),
        ("tls: first record does not look like a handshake", "no TLS"),
        ("lookup x: no such host", "DNS"),
        ("broker failure dial", "broker"),
    ],
)
def test_what_a_pt_writes_is_explained(words: str, meaning: str) -> None:
    """Issue 6, item 1: Go's own words, as lyrebird logs them."""
    assert meaning in explain_words(words)


def test_what_says_nothing_to_us_is_not_explained() -> None:
    assert explain_words("launched") == ""
    assert all(explain_words(words) for words in WORDS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (explain_plain(ProxyRefused("it refuses")), "it refuses: it gets the wire"),
        (explain_proxy(OSError(111, "Refused")), "(refused): it may be down"),
        (explain_proxy(TimeoutError()), "(no answer in time)"),
        (explain_host_down(OSError(111, "Refused")), "SS_LOCAL_HOST"),
        (explain_no_answer("it was closed"), "(it was closed): its password"),
        (explain_no_start("ss-local", "oh no"), "started: oh no"),
        (explain_no_start("ss-local", ""), "it said nothing"),
    ],
)
def test_every_other_sentence_says_why(text: str, words: str) -> None:
    assert words in text


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
    assert "SS_REMOTE_HOST" not in text


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
    text = explain_host(error)
    assert why in text
    assert "SS_LOCAL_HOST" in text


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


def test_complaints_come_once_in_a_while_and_count_what_they_held_back() -> None:
    """ER-13: a dead server must not fill the log."""
    complaints = Complaints(interval=30)
    assert complaints.admit("a", now=1000) == "a"
    assert complaints.admit("b", now=1000) is None
    assert complaints.admit("c", now=1029.9) is None
    told = "d (2 more failed since the last such line)"
    assert complaints.admit("d", now=1030) == told
    assert complaints.admit("e", now=1059) is None
    assert complaints.admit("f", now=2000).startswith("f (1 more")  # type: ignore[union-attr]
    assert complaints.admit("g", now=3000) == "g"


def test_the_first_complaint_is_told_whatever_the_clock_says() -> None:
    """ER-13: the loop's clock may begin anywhere."""
    assert Complaints().admit("a", now=0.0) == "a"
    assert Complaints().admit("a", now=-INTERVAL) == "a"
