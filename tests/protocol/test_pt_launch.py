"""The start of a PT: whole sessions, and every way in which they go wrong."""

from __future__ import annotations

import pytest

from pt_bridge.errors import (
    NotOffered,
    ProxyRefused,
    PtExitedBeforeReady,
    PtProtocolViolation,
)
from pt_bridge.protocol.address import Address
from pt_bridge.protocol.pt_launch import MAX_REFUSALS, Launch, State
from pt_bridge.protocol.pt_messages import Version, parse

NO_PAIR = "the PT's ARGS hold a pair that is not key=value"
LISTENING = "CMETHOD obfs4 socks5 127.0.0.1:37347"
CERT = "HszPy3vWfjsESCEOo9ZBkRv6zQ/1mGHzc8arF0y2SpwFr3WhsMu8rK0zyaoyERfbz3ddFw"
SERVING = f"SMETHOD obfs4 198.51.100.1:43734 ARGS:cert={CERT},iat-mode=0"


def client(*, proxy: bool = False) -> Launch:
    return Launch("lyrebird", "obfs4", server=False, proxy=proxy)


def server() -> Launch:
    return Launch("lyrebird", "obfs4", server=True)


def say(launch: Launch, *lines: str) -> list[str]:
    """Let the PT print lines; return back the remarks on them."""
    remarks = [launch.receive(parse(line.encode())) for line in lines]
    return [remark for remark in remarks if remark is not None]


# -- what goes well --------------------------------------------------------------------


def test_the_client_session_of_the_pt_specification() -> None:
    """PO-03, PO-05: appendix A of pt-spec; obfs3 is not what we asked for."""
    launch = client(proxy=True)
    remarks = say(
        launch,
        "VERSION 1",
        "PROXY DONE",
        "CMETHOD obfs3 socks5 127.0.0.1:32525",
        "CMETHOD obfs4 socks5 127.0.0.1:37347",
        "CMETHODS DONE",
    )
    assert remarks == ["a line CMETHOD that nobody asked for"]
    assert launch.state is State.READY
    assert launch.methods == {"obfs4": (Address("127.0.0.1", 37347), "socks5")}


def test_a_start_has_three_states() -> None:
    """PO-03."""
    launch = client()
    states = [launch.state]
    for line in ("VERSION 1", LISTENING, "CMETHODS DONE"):
        say(launch, line)
        states.append(launch.state)
    assert states == [State.START, State.METHODS, State.METHODS, State.READY]


def test_the_server_session_of_the_pt_specification() -> None:
    """PO-03, SV-05: appendix B of pt-spec."""
    launch = server()
    remarks = say(
        launch,
        "VERSION 1",
        "SMETHOD obfs3 198.51.100.1:1984",
        SERVING,
        "SMETHODS DONE",
    )
    assert remarks == ["a line SMETHOD that nobody asked for"]
    assert launch.state is State.READY
    assert launch.arguments == [("cert", CERT), ("iat-mode", "0")]


@pytest.mark.parametrize(
    ("line", "protocol", "address"),
    [
        ("CMETHOD obfs4 socks5 127.0.0.1:1", "socks5", Address("127.0.0.1", 1)),
        ("CMETHOD obfs4 socks4 127.0.0.1:1", "socks4", Address("127.0.0.1", 1)),
        ("CMETHOD obfs4 socks5 [::1]:9", "socks5", Address("::1", 9)),
        ("CMETHOD obfs4 socks5 127.0.0.1:1 x y", "socks5", Address("127.0.0.1", 1)),
    ],
)
def test_a_client_offers_socks_on_loopback(
    line: str, protocol: str, address: Address
) -> None:
    """PO-02, PO-05, PO-06."""
    launch = client()
    assert say(launch, "VERSION 1", line, "CMETHODS DONE") == []
    assert launch.methods == {"obfs4": (address, protocol)}


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("SMETHOD obfs4 [::]:443", []),
        ("SMETHOD obfs4 [::]:443 ARGS:", []),
        ("SMETHOD obfs4 [2001:db8::1]:443 ARGS:a=1,a=2", [("a", "1"), ("a", "2")]),
        ("SMETHOD obfs4 invented ARGS:url=https://e/a b", [("url", "https://e/a b")]),
    ],
)
def test_a_servers_address_may_be_anything(
    line: str, arguments: list[tuple[str, str]]
) -> None:
    """SV-03, SV-04, SV-05: webtunnel-server invents one; none of these is believed."""
    launch = server()
    assert say(launch, "VERSION 1", line, "SMETHODS DONE") == []
    assert launch.arguments == arguments
    assert launch.address is None


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("127.0.0.1:43734", Address("127.0.0.1", 43734)),
        ("127.9.8.7:1", Address("127.9.8.7", 1)),
        ("[::1]:43734", Address("::1", 43734)),
        ("127.0.0.1:0", None),
        ("127.0.0.1", None),
        ("localhost:43734", None),
        ("0.0.0.0:43734", None),
        ("192.0.2.1:43734", None),
    ],
)
def test_where_a_server_listens_on_loopback_is_known(
    place: str, address: Address | None
) -> None:
    """SV-03: with port 0, nobody else knows."""
    launch = server()
    say(launch, "VERSION 1", f"SMETHOD obfs4 {place} ARGS:cert=AAAA", "SMETHODS DONE")
    assert launch.state is State.READY
    assert launch.address == address


def test_of_two_places_of_a_server_the_first_counts() -> None:
    """PO-11: as of two listeners of a client."""
    launch = server()
    lines = [f"SMETHOD obfs4 127.0.0.1:{port}" for port in (1, 2)]
    assert say(launch, "VERSION 1", *lines, "SMETHODS DONE") == [
        "a second SMETHOD line"
    ]
    assert launch.address == Address("127.0.0.1", 1)


def test_what_lyrebird_prints_makes_it_known() -> None:
    """PO-15, RL-07: the STATUS line right after VERSION has no TRANSPORT."""
    launch = client()
    status = 'STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="devel"'
    assert say(launch, "VERSION 1", status, LISTENING, "CMETHODS DONE") == []
    assert launch.implementation == "lyrebird"
    assert launch.state is State.READY


@pytest.mark.parametrize(
    "line",
    [
        "STATUS TRANSPORT=snowflake CONNECT=Success",
        "STATUS TYPE=version VERSION=1",
        "STATUS",
    ],
)
def test_any_other_status_changes_nothing(line: str) -> None:
    """PO-10, PO-15: in any state."""
    launch = client()
    assert say(launch, line, "VERSION 1", line, LISTENING, "CMETHODS DONE", line) == []
    assert launch.implementation == ""


def test_log_lines_come_at_any_time() -> None:
    """PO-10: tor reads them from the first line on."""
    launch, line = client(), 'LOG SEVERITY=warning MESSAGE="offer created"'
    assert say(launch, line, "VERSION 1", line, LISTENING, "CMETHODS DONE", line) == []
    assert launch.state is State.READY


@pytest.mark.parametrize("line", ["", "hello world", "cmethod obfs4", "FEATURES x"])
def test_unknown_lines_are_ignored_at_any_time(line: str) -> None:
    """PO-01: before VERSION, too."""
    launch = client()
    remarks = say(launch, line, "VERSION 1", line, LISTENING, "CMETHODS DONE", line)
    assert remarks == ["a line that is no message of a PT"] * 3
    assert launch.state is State.READY


@pytest.mark.parametrize(
    ("line", "keyword"),
    [
        ("VERSION 2", "VERSION"),
        ("VERSION-ERROR no-version", "VERSION-ERROR"),
        ("ENV-ERROR x", "ENV-ERROR"),
        ("PROXY DONE", "PROXY DONE"),
        ("PROXY-ERROR x", "PROXY-ERROR"),
        ("CMETHOD obfs4 socks5 192.0.2.1:0", "CMETHOD"),
        ("CMETHOD-ERROR obfs4 x", "CMETHOD-ERROR"),
        ("CMETHODS DONE", "CMETHODS DONE"),
        ("SMETHOD obfs4 x", "SMETHOD"),
        ("SMETHOD-ERROR obfs4 x", "SMETHOD-ERROR"),
        ("SMETHODS DONE", "SMETHODS DONE"),
    ],
)
def test_once_ready_nothing_that_a_pt_prints_changes_what_it_offers(
    line: str, keyword: str
) -> None:
    """PO-10: tor kills the PT for it."""
    launch = client()
    say(launch, "VERSION 1", LISTENING, "CMETHODS DONE")
    assert say(launch, line) == [f"a line {keyword} after the PT was ready"]
    assert launch.state is State.READY
    assert launch.methods["obfs4"].address == Address("127.0.0.1", 37347)


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("VERSION 1", "a second line VERSION"),
        ("CMETHOD obfs4 socks5 127.0.0.1:2", "a second CMETHOD line"),
        ("CMETHOD obfs4 socks5 192.0.2.1:2", "a second CMETHOD line"),
        ("CMETHOD OBFS4 socks5 x", "a line CMETHOD that nobody asked for"),
        ("CMETHOD-ERROR obfs3 x", "a line CMETHOD-ERROR that nobody asked for"),
        (SERVING, "a line SMETHOD that nobody asked for"),
        ("SMETHOD-ERROR obfs4 x", "a line SMETHOD-ERROR that nobody asked for"),
        ("SMETHODS DONE", "a line SMETHODS DONE that nobody asked for"),
    ],
)
def test_a_client_is_not_misled_by_lines_that_nobody_asked_for(
    line: str, remark: str
) -> None:
    """PO-03, PO-05: the first line for a name wins; only our own role's count."""
    launch = client()
    assert say(launch, "VERSION 1", LISTENING, line) == [remark]
    assert launch.state is State.METHODS
    say(launch, "CMETHODS DONE")
    assert launch.methods["obfs4"].address == Address("127.0.0.1", 37347)


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("SMETHOD obfs4 [::]:1 ARGS:cert=other", "a second SMETHOD line"),
        ("SMETHOD-ERROR obfs3 x", "a line SMETHOD-ERROR that nobody asked for"),
        (LISTENING, "a line CMETHOD that nobody asked for"),
        ("CMETHOD-ERROR obfs4 x", "a line CMETHOD-ERROR that nobody asked for"),
        ("CMETHODS DONE", "a line CMETHODS DONE that nobody asked for"),
    ],
)
def test_a_server_is_not_misled_by_lines_that_nobody_asked_for(
    line: str, remark: str
) -> None:
    """PO-03, PO-05."""
    launch = server()
    assert say(launch, "VERSION 1", SERVING, line) == [remark]
    assert launch.state is State.METHODS
    say(launch, "SMETHODS DONE")
    assert launch.arguments == [("cert", CERT), ("iat-mode", "0")]


def test_args_that_do_not_parse_are_no_reason_to_end() -> None:
    """SV-05: the server works, only its line for clients cannot be made."""
    launch = server()
    remarks = say(
        launch, "VERSION 1", "SMETHOD obfs4 [::]:1 ARGS:s3cret", "SMETHODS DONE"
    )
    assert remarks == [f"an SMETHOD line whose arguments do not parse: {NO_PAIR}"]
    assert launch.state is State.READY
    assert launch.arguments == []


def test_an_error_for_a_transport_that_is_then_offered_is_forgiven() -> None:
    """PO-07: what counts is what is offered at the end."""
    launch = client()
    say(launch, "VERSION 1", "CMETHOD-ERROR obfs4 x", LISTENING, "CMETHODS DONE")
    assert launch.state is State.READY


def test_a_launch_shown_by_a_debugger_shows_no_argument() -> None:
    """SE-05."""
    launch = server()
    say(launch, "VERSION 1", SERVING, "SMETHODS DONE")
    assert CERT not in repr(launch)


# -- what goes wrong -------------------------------------------------------------------

OTHER_VERSION = "of the PT protocol, and pt-bridge version 1: use another version of it"
NO_VERSION = "lyrebird does not speak version 1 of the PT protocol: VERSION-ERROR "
BAD_ENVIRONMENT = "lyrebird cannot use its environment: ENV-ERROR "
NO_STATE = "no TOR_PT_STATE_LOCATION environment variable"
BEFORE_VERSION = "before VERSION: it is no pluggable transport, or a broken one"
NOT_LOOPBACK = (
    "lyrebird listens for obfs4 on an address that is not loopback, where others "
    "could read the arguments"
)
NO_SOCKS = (
    "lyrebird offers obfs4 over 'socks4a', and pt-bridge speaks socks5 and socks4"
)
BAD_ADDRESS = "lyrebird printed an address for obfs4 that cannot be used: "


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["VERSION 2"], f"lyrebird speaks version 2 {OTHER_VERSION}"),
        (["VERSION 1", "VERSION 1a"], f"lyrebird speaks version 1a {OTHER_VERSION}"),
        (["VERSION-ERROR no-version"], f"{NO_VERSION}no-version"),
        (["VERSION 1", "VERSION-ERROR"], NO_VERSION),
        ([f"ENV-ERROR {NO_STATE}"], f"{BAD_ENVIRONMENT}{NO_STATE}"),
        (["VERSION 1", "ENV-ERROR not an IP"], f"{BAD_ENVIRONMENT}not an IP"),
        ([LISTENING], f"lyrebird printed CMETHOD {BEFORE_VERSION}"),
        (["SMETHODS DONE"], f"lyrebird printed SMETHODS DONE {BEFORE_VERSION}"),
        (["CMETHOD-ERROR obfs4 x"], f"lyrebird printed CMETHOD-ERROR {BEFORE_VERSION}"),
        (["PROXY DONE"], f"lyrebird printed PROXY DONE {BEFORE_VERSION}"),
        (["VERSION 1", "CMETHOD obfs4 socks4a 127.0.0.1:1"], NO_SOCKS),
        (
            ["VERSION 1", "CMETHOD obfs4 socks5 localhost:1"],
            f"{BAD_ADDRESS}it must be an IP address and a port",
        ),
        (
            ["VERSION 1", "CMETHOD obfs4 socks5 127.0.0.1:0"],
            f"{BAD_ADDRESS}it must be a port from 1 to 65535",
        ),
        (["VERSION 1", "CMETHOD obfs4 socks5 0.0.0.0:1"], NOT_LOOPBACK),
        (["VERSION 1", "CMETHOD obfs4 socks5 [::]:1"], NOT_LOOPBACK),
        (["VERSION 1", "CMETHOD obfs4 socks5 192.0.2.1:1"], NOT_LOOPBACK),
    ],
)
def test_a_pt_that_breaks_its_specification_cannot_be_used(
    lines: list[str], message: str
) -> None:
    """PO-03 to PO-06, ER-11, ER-15, PE-02."""
    launch = client()
    say(launch, *lines[:-1])
    with pytest.raises(PtProtocolViolation) as caught:
        say(launch, lines[-1])
    assert str(caught.value) == message
    assert caught.value.exit_code == 76
    assert launch.state is not State.READY


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("VERSION-ERROR no-version", "no-version"),
        ("ENV-ERROR two words", "two words"),
    ],
)
def test_an_error_keeps_the_pts_own_words(line: str, reason: str) -> None:
    """PO-04, ER-15."""
    with pytest.raises(PtProtocolViolation) as caught:
        say(client(), line)
    assert caught.value.reason == reason


@pytest.mark.parametrize("before", [[], ["VERSION 1"], ["VERSION 1", LISTENING]])
def test_a_refused_proxy_ends_the_start_at_once(before: list[str]) -> None:
    """PO-04, ER-05, PE-07: in any state before READY."""
    launch = client(proxy=True)
    say(launch, *before)
    with pytest.raises(ProxyRefused) as caught:
        say(launch, "PROXY-ERROR proxy is not supported")
    assert str(caught.value) == (
        "lyrebird cannot use the proxy that it was given: PROXY-ERROR proxy is not "
        "supported"
    )
    assert caught.value.reason == "proxy is not supported"
    assert caught.value.exit_code == 69


def test_a_proxy_that_is_not_acknowledged_ends_the_start() -> None:
    """PE-08, ER-05, SE-09: fail closed."""
    launch = client(proxy=True)
    with pytest.raises(ProxyRefused) as caught:
        say(launch, "VERSION 1", LISTENING, "CMETHODS DONE")
    assert str(caught.value) == (
        "lyrebird did not say that it uses the proxy that it was given, so its "
        "connections could go around it"
    )


def test_a_proxy_that_nobody_asked_for_does_no_harm() -> None:
    """PE-08."""
    launch = client()
    assert say(launch, "VERSION 1", "PROXY DONE", LISTENING, "CMETHODS DONE") == []


@pytest.mark.parametrize(
    ("lines", "message", "reason"),
    [
        ([], "lyrebird does not offer obfs4", ""),
        (["CMETHOD obfs3 socks5 127.0.0.1:1"], "lyrebird does not offer obfs4", ""),
        (["CMETHOD-ERROR obfs3 x"], "lyrebird does not offer obfs4", ""),
        (
            ["CMETHOD-ERROR obfs4 no such transport is supported"],
            "lyrebird cannot offer obfs4: no such transport is supported",
            "no such transport is supported",
        ),
        (["CMETHOD-ERROR obfs4"], "lyrebird cannot offer obfs4: ", ""),
    ],
)
def test_done_without_our_transport_is_a_failure(
    lines: list[str], message: str, reason: str
) -> None:
    """PO-07, ER-04: snowflake-client and webtunnel-client keep running after it."""
    launch = client()
    say(launch, "VERSION 1", *lines)
    with pytest.raises(NotOffered) as caught:
        say(launch, "CMETHODS DONE")
    assert (str(caught.value), caught.value.reason) == (message, reason)
    assert caught.value.exit_code == 69


def test_what_may_be_meant_by_a_transport_stands_in_the_last_line() -> None:
    """ER-04: whoever reads no more than that finds the slip of the pen in it."""
    hint = ": did you mean 'obfs4'?"
    launch = Launch("obfs4proxy", "obsf4", server=False, hint=hint)
    refusal = "CMETHOD-ERROR obsf4 no such transport is supported"
    with pytest.raises(NotOffered, match=r"is supported: did you mean 'obfs4'\?$"):
        say(launch, "VERSION 1", refusal, "CMETHODS DONE")
    launch = Launch("obfs4proxy", "obsf4", server=False, hint=hint)
    with pytest.raises(NotOffered, match=r"offer obsf4: did you mean 'obfs4'\?$"):
        say(launch, "VERSION 1", "CMETHODS DONE")


def test_a_pt_that_refuses_and_ends_without_done_is_told_by_its_own_words() -> None:
    """PO-07, PO-08: webtunnel-server without url prints this, and exits with 0."""
    launch = Launch("webtunnel-server", "webtunnel", server=True)
    say(launch, "VERSION 1", "SMETHOD-ERROR webtunnel no url", "SMETHOD-ERROR other x")
    error = launch.ended("ended with exit code 0", "bye")
    assert isinstance(error, NotOffered)
    assert str(error) == "webtunnel-server cannot offer webtunnel: no url"


def test_all_reasons_are_shown_the_first_one_first() -> None:
    """PO-07: webtunnel-server says what is missing, and then what follows from that."""
    launch = Launch("webtunnel-server", "webtunnel", server=True)
    refused = "SMETHOD-ERROR webtunnel "
    first, second = "missing url parameter", "no valid listener configured"
    assert say(launch, "VERSION 1", refused + first, refused + second) == []
    assert say(launch, refused + first) == ["the same reason again"]
    with pytest.raises(NotOffered) as caught:
        say(launch, "SMETHODS DONE")
    assert caught.value.reason == f"{first}; {second}"
    assert str(caught.value).endswith(f"cannot offer webtunnel: {first}; {second}")


def test_reasons_without_end_are_not_kept() -> None:
    """SE-10: memory is bounded."""
    launch = client()
    lines = [f"CMETHOD-ERROR obfs4 {number}" for number in range(MAX_REFUSALS + 1)]
    assert say(launch, "VERSION 1", *lines) == ["one reason too many"]
    error = launch.ended("ended", "")
    assert error.reason == "; ".join(str(number) for number in range(MAX_REFUSALS))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["VERSION 1"],
        ["VERSION 1", LISTENING],
        ["VERSION 1", LISTENING, "CMETHOD-ERROR obfs4 x"],
    ],
)
@pytest.mark.parametrize(
    ("last_words", "said"),
    [("", ""), ("No state directory", "; it wrote: No state directory")],
)
def test_a_pt_that_ends_before_it_is_ready_has_failed(
    lines: list[str], last_words: str, said: str
) -> None:
    """PO-08, ER-11: whatever its exit code."""
    launch = client()
    say(launch, *lines)
    error = launch.ended("ended with exit code 0", last_words)
    assert isinstance(error, PtExitedBeforeReady)
    if not lines and not last_words:
        said = ", without a word: is it a pluggable transport?"
    assert str(error) == f"lyrebird ended with exit code 0 before it was ready{said}"
    assert error.reason == last_words


def test_a_pts_words_are_kept_whole() -> None:
    """SE-05: half a secret would not be known for one."""
    with pytest.raises(PtProtocolViolation) as caught:
        say(client(), f"ENV-ERROR {'x' * 5000}")
    assert str(caught.value) == f"{BAD_ENVIRONMENT}{'x' * 5000}"


def test_a_version_line_that_is_made_and_not_parsed_is_judged_alike() -> None:
    """PO-03: any version but 1."""
    for version in ("", "0", "1.0", "1,2", "\uff11"):
        with pytest.raises(PtProtocolViolation):
            client().receive(Version(version))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (
            'STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="0.8.1"',
            "lyrebird 0.8.1",
        ),
        ("STATUS TYPE=version IMPLEMENTATION=other", "other"),
        ("STATUS TYPE=version", "lyrebird"),
        ("STATUS TYPE=something IMPLEMENTATION=other", "lyrebird"),
    ],
)
def test_a_pt_is_called_what_it_calls_itself(line: str, name: str) -> None:
    """PO-15: for whoever asks which version it is."""
    launch = client()
    say(launch, line)
    assert launch.name_and_version == name


# -- several transports ----------------------------------------------------------------


def several() -> Launch:
    others = ["obfs3", "webtunnel"]
    return Launch("lyrebird", "obfs4", server=False, others=others)


def test_a_client_may_offer_several_transports() -> None:
    """PO-05: each has a listener of its own."""
    launch = several()
    lines = [f"CMETHOD {name} socks5 127.0.0.1:{len(name)}" for name in launch.others]
    remarks = say(launch, "VERSION 1", LISTENING, *lines, "CMETHODS DONE")
    assert remarks == []
    assert list(launch.methods) == ["obfs4", "obfs3", "webtunnel"]
    assert launch.methods["webtunnel"].address.port == len("webtunnel")


def test_one_of_several_is_enough() -> None:
    """Why it does not offer the others, it may have said."""
    launch = several()
    error = "CMETHOD-ERROR obfs3 no such transport"
    say(launch, "VERSION 1", error, LISTENING, "CMETHODS DONE")
    assert launch.state is State.READY
    assert launch.why_not("obfs3") == "lyrebird cannot offer obfs3: no such transport"
    assert launch.why_not("webtunnel") == "lyrebird does not offer webtunnel"


def test_none_of_several_is_not() -> None:
    launch = several()
    say(launch, "VERSION 1", "CMETHOD-ERROR obfs3 no")
    with pytest.raises(NotOffered, match="does not offer obfs4"):
        say(launch, "CMETHODS DONE")
    assert "cannot offer obfs3: no" in str(launch.ended("ended", ""))
