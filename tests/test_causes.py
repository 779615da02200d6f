"""Why a connection failed, and how often that is told."""

from __future__ import annotations

import socket

import pytest

from pt_bridge.causes import (
    INTERVAL,
    Complaints,
    explain,
    explain_host,
    explain_silence,
)
from pt_bridge.errors import ArgumentsRejected, ConnectRefused, ProtocolError


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
