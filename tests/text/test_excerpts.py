"""The bridge lines and links that stand in a text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_bridge.formats import bridge_line
from pt_bridge.formats.bridge_line import BridgeLine
from pt_bridge.text.excerpts import bridge_lines, links
from tests.formats.test_bridge_line import LINES

TRANSPORTS = {"obfs3", "obfs4", "snowflake", "webtunnel"}
CERT = "bjRaMrr1BRiAW8IE9U5z27fQaYgOhX1UCmOpg2pFpoMvo6ZgQMzLsaTzzQNTlm7hNcb+Sg"
FINGERPRINT = "0BAC39417268B96B9F514E7F63FA6FBA1A788955"
ONE = f"obfs4 192.0.2.9:8443 {FINGERPRINT} cert={CERT} iat-mode=0"
TWO = "webtunnel [2001:db8::1]:443 url=https://e.example/Qv9"


@pytest.mark.parametrize(
    ("text", "is_all"),
    [
        (ONE, True),
        (f"Bridge {ONE}", True),
        (f"1. {ONE}", True),
        (f"- {ONE}\n", True),
        (f"> * {ONE}", True),
        (f"\u2022 Bridge {ONE}", True),
        (f"['{ONE}']", True),
        (f'"{ONE}",\n', True),
        (f"Bridge '{ONE}'", True),
        (f"\u201c{ONE}\u201d", True),
        (f"| {ONE} |", True),
        (f"{ONE}{' |' * 8}", True),
        (f"{ONE}\n{ONE}", True),
        (f"SMETHOD obfs4 192.0.2.9:8443 ARGS:cert={CERT},iat-mode=0", True),
        (f"# mine\nBridge {ONE} # of mine", True),
        (f"Bridge {ONE}\\\n", True),
        (f"Your bridges: {ONE}", False),
        (f"Here is one:\n\n{ONE}\n\nYours, Bob", False),
        (f'user_pref("torbrowser.bridge.0", "{ONE}");', False),
        (f"UseBridges 1\nClientTransportPlugin obfs4 exec /x\nBridge {ONE}", False),
        (f"ServerTransportListenAddr obfs4 0.0.0.0:1\n{ONE}", False),
        (f"CMETHOD obfs4 socks5 127.0.0.1:1\n{ONE}", False),
        (f"VERSION 1\nSMETHOD obfs4 192.0.2.9:8443 ARGS:cert={CERT},iat-mode=0", False),
        (f"{ONE}, ", True),
        (f"Mon, 26 Nov 01:10\nMeeting 12:30\n{ONE}", False),
    ],
)
def test_one_bridge_line_is_cut_out_of_what_is_around_it(
    text: str, *, is_all: bool
) -> None:
    """And it is told whether that might have meant something."""
    found = bridge_lines(text, TRANSPORTS)
    (line,) = found.texts
    expected = bridge_line.parse(ONE)
    read = bridge_line.parse(line.rstrip(", "))
    assert (read.address, read.arguments) == (expected.address, expected.arguments)
    assert found.is_all == is_all


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n{TWO}",
        f"['{ONE}', '{TWO}']",
        f"{ONE}, {TWO}",
        f"{ONE}; {TWO};",
        f"1. {ONE}\n2. {TWO}\n",
        f"Your bridges:\n\nBridge {ONE}\nBridge {TWO} # second\n\nThe team",
        f"{ONE} {TWO}",
        f'a("0", "{ONE}");\na("1", "{TWO}");',
    ],
)
def test_several_are_found_each_as_it_stands_there(text: str) -> None:
    assert bridge_lines(text, TRANSPORTS).texts == [ONE, TWO]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (ONE.replace(" cert", "\n cert"), ONE),
        (ONE.replace(" cert", "\n").replace(" iat", "\n iat"), None),
        (f"{ONE[:-20]}\n{ONE[-20:]}", None),
        (f"{ONE}\nThanks", ONE),
        (f"obfs4 192.0.2.9:8443\n{FINGERPRINT}\nThanks", None),
        (f"{ONE}\n\nkey=value", ONE),
        (f'"{ONE}\nThanks', ONE),
    ],
)
def test_a_line_that_was_broken_goes_on(text: str, line: str | None) -> None:
    """With its arguments, its fingerprint, or the rest of a cert."""
    (found,) = bridge_lines(text, TRANSPORTS).texts
    whole = " ".join(found.split())
    if line is None:
        assert whole in (" ".join(text.split()), " ".join(text.split()[:-1]))
    else:
        assert whole == line


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("tomorrow 192.0.2.1:1 k=v", True),
        ("Bridge tomorrow 192.0.2.1:1", True),
        (f"- tomorrow 192.0.2.1:1 {FINGERPRINT}", True),
        ("tomorrow a.example:1\n", True),
        ("see Bridge tomorrow 192.0.2.1:1 k=v", True),
        ("see tomorrow 192.0.2.1:1 k=v", False),
        ("tomorrow 192.0.2.1:1 is Monday", False),
        ("Server 192.0.2.1:1", False),
        ("IP 192.0.2.1:1 k=v", False),
        ("Bridge IP 192.0.2.1:1 k=v", True),
        ("1. bridge is 192.0.2.1:1 k=v", True),
        ("Bridge IS 192.0.2.1:1", True),
        ("bridge is 192.0.2.1:1", False),
        ("the Bridge is 192.0.2.1:1 k=v", False),
        ("Meeting 12:30", False),
        ("Bridge 192.0.2.1:1", False),
        ("bridge=obfs4 192.0.2.1:1", False),
        ("obfs4 is good", False),
        ("obfs4", False),
        ("# obfs4 192.0.2.1:1", False),
    ],
)
def test_a_transport_that_nobody_knows_must_begin_its_line(
    text: str, *, is_one: bool
) -> None:
    """Any word may stand before an address."""
    assert bool(bridge_lines(text, TRANSPORTS).texts) == is_one


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SMETHOD obfs3 [::]:1", "obfs3 [::]:1"),
        ("SMETHOD obfs4 0.0.0.0:1 ARGS:a=b\\,c", "obfs4 0.0.0.0:1 a=b,c"),
        ("SMETHOD obfs4 0.0.0.0:1 ARGS:a", "obfs4 0.0.0.0:1 ARGS:a"),
    ],
)
def test_what_a_servers_pt_prints_becomes_a_bridge_line(text: str, line: str) -> None:
    """pt-spec 3.3.3; what is broken in it is left to who reads bridge lines."""
    assert bridge_lines(text, TRANSPORTS).texts == [line]


def test_a_torrc_with_500_bridges_is_read_at_once() -> None:
    text = "".join(
        f"Bridge {ONE.replace('192.0.2.9', f'10.0.{n >> 8}.{n & 255}')}\n"
        for n in range(500)
    )
    assert len(bridge_lines(text, TRANSPORTS).texts) == 500


@settings(database=None, deadline=None)
@given(LINES)
def test_a_bridge_line_alone_is_found_as_it_is(line: BridgeLine) -> None:
    """Whatever its arguments hold."""
    found = bridge_lines(f"Bridge {line}", {line.transport})
    assert found.is_all
    assert str(bridge_line.parse(found.texts[0])) == str(line)


@settings(database=None, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*ONE.split(), "Bridge", '"', "'", "\n", "SMETHOD", "ARGS:a=b", "#", "\\\n"]
        )
        | st.text(max_size=5),
        max_size=12,
    ).map(" ".join)
)
def test_whatever_is_found_stands_there(text: str) -> None:
    """Nothing else comes out of any text."""
    for each in (bridge_lines(text, TRANSPORTS), links(text)):
        assert len(set(each.texts)) == len(each.texts)


A = "ss://YWVzLTI1Ni1nY206cHcx@192.0.2.1:8388"
B = "ss://YWVzLTI1Ni1nY206cHcy@192.0.2.2:8388"


@pytest.mark.parametrize(
    ("text", "found", "is_all"),
    [
        (A, [A], True),
        (f"{A}#A\n{B}#B", [f"{A}#A", f"{B}#B"], True),
        (f"{A} {B}", [A, B], True),
        (f"{A}{B}", [f"{A}{B}"], True),
        (f"{A}\n{A}\n", [A], True),
        (f'["{A}", "{B}"]', [A, B], True),
        (f"my link: '{A}#my own' ok", [f"{A}#my own"], False),
        (f"[it]({A}#x)", [f"{A}#x"], False),
        (f"<{A}>", [A], True),
        (f"({A}", [A], True),
        (f"\u201c{A}\u201d", [A], True),
        (f"{A}#Name\nmore of it", [f"{A}#Name"], False),
        (f"{A[:20]}\n  {A[20:]}", [f"{A[:20]}\n  {A[20:]}"], True),
        (f"{A}\n\nHello", [A], False),
        (f"{A}#\n\n", [f"{A}#"], True),
        (f"{A}, thanks", [A], False),
        (f"It is {A}.", [A], False),
        (f"{A}?plugin=a b", [f"{A}?plugin=a b"], True),
        ("wss://x", [], False),
        ("", [], True),
    ],
)
def test_links_are_cut_out(text: str, found: list[str], *, is_all: bool) -> None:
    """Two at once were one, the second in the name of the first."""
    assert links(text)[:2] == (found, is_all)
