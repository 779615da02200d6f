r"""What a PT says on its standard output: every example of the specification."""

from __future__ import annotations

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.pt_messages import (
    MAX_LINE,
    Cmethod,
    CmethodError,
    CmethodsDone,
    EnvError,
    LineBuffer,
    Log,
    Message,
    ProxyDone,
    ProxyError,
    Smethod,
    SmethodError,
    SmethodsDone,
    Status,
    Unknown,
    Version,
    VersionError,
    parse,
    parse_pairs,
)

NO_COOKIE = "No TOR_PT_AUTH_COOKIE_FILE when TOR_PT_EXTENDED_SERVER_PORT set"
CERT = b"HszPy3vWfjsESCEOo9ZBkRv6zQ/1mGHzc8arF0y2SpwFr3WhsMu8rK0zyaoyERfbz3ddFw"


# -- lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # 3.3.1
        (b"VERSION-ERROR no-version", VersionError("no-version")),
        (b"VERSION 1", Version("1")),
        (f"ENV-ERROR {NO_COOKIE}".encode(), EnvError(NO_COOKIE)),
        # 3.3.2
        (b"PROXY DONE", ProxyDone()),
        (
            b"PROXY-ERROR SOCKS 4 upstream proxies unsupported.",
            ProxyError("SOCKS 4 upstream proxies unsupported."),
        ),
        (
            b"CMETHOD trebuchet socks5 127.0.0.1:19999",
            Cmethod("trebuchet", "socks5", "127.0.0.1:19999"),
        ),
        (
            b"CMETHOD-ERROR trebuchet no rocks available",
            CmethodError("trebuchet", "no rocks available"),
        ),
        (b"CMETHODS DONE", CmethodsDone()),
        # 3.3.3
        (
            b"SMETHOD trebuchet 198.51.100.1:19999",
            Smethod("trebuchet", "198.51.100.1:19999", ""),
        ),
        (
            b"SMETHOD rot_by_N 198.51.100.1:2323 ARGS:N=13",
            Smethod("rot_by_N", "198.51.100.1:2323", "N=13"),
        ),
        (
            b"SMETHOD-ERROR trebuchet no cows available",
            SmethodError("trebuchet", "no cows available"),
        ),
        (b"SMETHODS DONE", SmethodsDone()),
        # 3.3.4
        (
            b'LOG SEVERITY=debug MESSAGE="Connected to bridge A"',
            Log("debug", "Connected to bridge A"),
        ),
        # 3.3.5
        (
            b"STATUS TRANSPORT=obfs4 ADDRESS=198.51.100.123:1234 CONNECT=Success",
            Status(
                {
                    "TRANSPORT": "obfs4",
                    "ADDRESS": "198.51.100.123:1234",
                    "CONNECT": "Success",
                }
            ),
        ),
        (
            (
                b"STATUS TRANSPORT=obfs4 ADDRESS=198.51.100.222:2222 CONNECT=Failed "
                b'FINGERPRINT=<Fingerprint> ERRSTR="Connection refused"'
            ),
            Status(
                {
                    "TRANSPORT": "obfs4",
                    "ADDRESS": "198.51.100.222:2222",
                    "CONNECT": "Failed",
                    "FINGERPRINT": "<Fingerprint>",
                    "ERRSTR": "Connection refused",
                }
            ),
        ),
        (
            b"STATUS TRANSPORT=trebuchet ADDRESS=198.51.100.15:443 PERCENT=42",
            Status(
                {
                    "TRANSPORT": "trebuchet",
                    "ADDRESS": "198.51.100.15:443",
                    "PERCENT": "42",
                }
            ),
        ),
        # appendix B
        (
            b"SMETHOD obfs4 198.51.100.1:43734 ARGS:cert=" + CERT + b",iat-mode=0",
            Smethod("obfs4", "198.51.100.1:43734", f"cert={CERT.decode()},iat-mode=0"),
        ),
        # Of a later version of the specification: unknown, and no harm.
        (b"FEATURES-ACK dormant,y", Unknown("FEATURES-ACK dormant,y")),
    ],
)
def test_the_examples_of_the_pt_specification(line: bytes, message: Message) -> None:
    """PO-01: pt-spec 3.3, and its appendices."""
    assert parse(line) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"VERSION 1\r", Version("1")),
        (b"CMETHODS DONE\r", CmethodsDone()),
        (b"ENV-ERROR a\r\r", EnvError("a\r")),
        (b"VERSION\t1", Version("1")),
        (b"VERSION 1 ", Version("1")),
        (b"CMETHOD\tn\t socks5  a:1", Cmethod("n", "socks5", "a:1")),
        (b"CMETHOD n socks5 a:1 ARGS:x=1 junk", Cmethod("n", "socks5", "a:1")),
        (b"CMETHODS DONE trailing", CmethodsDone()),
        (b"SMETHODS\tDONE", SmethodsDone()),
        (b"PROXY DONE ", ProxyDone()),
        (b"CMETHOD-ERROR obfs4  no such one ", CmethodError("obfs4", "no such one ")),
        (b"CMETHOD-ERROR *", CmethodError("*", "")),
        (b"CMETHOD-ERROR * ", CmethodError("*", "")),
        (b"SMETHOD-ERROR n", SmethodError("n", "")),
        (b"VERSION-ERROR", VersionError("")),
        (b"ENV-ERROR ", EnvError("")),
    ],
)
def test_blanks_and_a_carriage_return_are_taken_as_tor_does(
    line: bytes, message: Message
) -> None:
    """PO-01, PO-02, PO-04: runs of blanks, surplus words, one CR, texts of any form."""
    assert parse(line) == message


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\r", b" ", b"hello world", b"cmethod n socks5 127.0.0.1:1"),
        *(b"CMETHODS", b"CMETHODS done", b"SMETHODS NOW", b"PROXY", b"PROXY MAYBE"),
        *(b" VERSION 1", b"VERSIONS 1", b"Version 1", b"\0VERSION 1", b"ENV-ERROR:x"),
    ],
)
def test_what_is_no_keyword_is_unknown(line: bytes) -> None:
    """PO-01: keywords are in capitals, at the start, and end at a blank."""
    assert parse(line) == Unknown(line.removesuffix(b"\r").decode())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"VERSION", "a line 'VERSION' with fewer than 1 words"),
        (b"VERSION  ", "a line 'VERSION' with fewer than 1 words"),
        (b"CMETHOD", "a line 'CMETHOD' with fewer than 3 words"),
        (b"CMETHOD trebuchet socks5", "a line 'CMETHOD' with fewer than 3 words"),
        (b"SMETHOD ", "a line 'SMETHOD' with fewer than 2 words"),
        (b"SMETHOD trebuchet ", "a line 'SMETHOD' with fewer than 2 words"),
        (b"CMETHOD-ERROR", "a line 'CMETHOD-ERROR' without a transport"),
        (b"SMETHOD-ERROR ", "a line 'SMETHOD-ERROR' without a transport"),
    ],
)
def test_a_keyword_without_the_words_that_it_needs_is_refused(
    line: bytes, message: str
) -> None:
    """PO-02: for tor too, such a line is an error."""
    with pytest.raises(ProtocolError) as caught:
        parse(line)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("rest", "args"),
    [
        ("", ""),
        (" ARGS:", ""),
        (" ARGS:cert=abc,iat-mode=0", "cert=abc,iat-mode=0"),
        (
            r" ARGS:url=https://example.com/path?a\=b\,c,ver=0.0.7",
            r"url=https://example.com/path?a\=b\,c,ver=0.0.7",
        ),
        (
            " ARGS:url=https://e/a b,ver=0.0.7,x=1 2",
            "url=https://e/a b,ver=0.0.7,x=1 2",
        ),
        ("\tARGS:a=1\tb ARGS:c=2 ", "a=1\tb ARGS:c=2 "),
        (" OTHER:x  ARGS:a=1", "a=1"),
        (" OTHER:ARGS:a=1", ""),
    ],
)
def test_args_go_on_to_the_end_of_an_smethod_line(rest: str, args: str) -> None:
    """SV-05: with their blanks, although tor keeps the first word only."""
    line = f"SMETHOD webtunnel [2001:db8::1]:443{rest}".encode()
    assert parse(line) == Smethod("webtunnel", "[2001:db8::1]:443", args)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"ENV-ERROR \xff\xfe", EnvError(r"\xff\xfe")),
        (b"ENV-ERROR a\0b", EnvError("a\0b")),
        ("LOG SEVERITY=info MESSAGE=é".encode(), Log("info", "é")),
        ('LOG SEVERITY=info MESSAGE="é \\303\\251"'.encode(), Log("info", "é é")),
        (b"\xff", Unknown(r"\xff")),
    ],
)
def test_bytes_that_are_not_utf_8_harm_nothing(line: bytes, message: Message) -> None:
    """PO-11."""
    assert parse(line) == message


# -- LOG and STATUS --------------------------------------------------------------------


@pytest.mark.parametrize("severity", ["error", "warning", "notice", "info", "debug"])
def test_a_log_line_has_a_severity_and_a_message(severity: str) -> None:
    """PO-14."""
    line = f'LOG SEVERITY={severity} MESSAGE="a b"'.encode()
    assert parse(line) == Log(severity, "a b")


@pytest.mark.parametrize("severity", ["INFO", "Error", "warn", "critical", '""', ""])
def test_a_severity_that_is_unknown_counts_as_notice(severity: str) -> None:
    """PO-14: case matters."""
    line = f"LOG SEVERITY={severity} MESSAGE=m".encode()
    assert parse(line) == Log("notice", "m")


@pytest.mark.parametrize(
    "line",
    [
        "LOG",
        "LOG ",
        "LOG MESSAGE=m",
        "LOG SEVERITY=info",
        "LOG severity=info message=m",
        "LOG SEVERITY=info MESSAGE=two words",
        'LOG SEVERITY=info MESSAGE="unterminated',
        "STATUS TRANSPORT",
        "STATUS =x",
    ],
)
def test_a_log_or_status_line_that_does_not_parse_is_unknown(line: str) -> None:
    """PO-12, PO-14: to be logged as it is, and to go on."""
    assert parse(line.encode()) == Unknown(line)


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        (
            'STATUS TYPE=version IMPLEMENTATION="lyrebird" VERSION="devel"',
            {"TYPE": "version", "IMPLEMENTATION": "lyrebird", "VERSION": "devel"},
        ),
        ("STATUS", {}),
    ],
)
def test_a_status_line_without_a_transport_is_normal(
    line: str, pairs: dict[str, str]
) -> None:
    """PO-15: goptlib sends this one."""
    assert parse(line.encode()) == Status(pairs)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("  ", {}),
        ("A=b", {"A": "b"}),
        (" \t\r\vA=b \t C=d\n", {"A": "b", "C": "d"}),
        ("A=", {"A": ""}),
        ("A= B=", {"A": "", "B": ""}),
        ('A=""', {"A": ""}),
        ("A=b=c", {"A": "b=c"}),
        ("a=1 A=2", {"a": "1", "A": "2"}),
        ('MESSAGE=a"b', {"MESSAGE": 'a"b'}),
        ('A"B=c', {'A"B': "c"}),
        ("A=\\n", {"A": "\\n"}),
        ('A="b c=d"', {"A": "b c=d"}),
        ("A=1 A=2", {"A": "1"}),
        (r'A="\n\r\t\'\"\\"', {"A": "\n\r\t'\"\\"}),
        (r'A="\x41\X42\x7e"', {"A": "AB~"}),
        (r'A="\101\1012\18\377"', {"A": "AA2\x018\\xff"}),
        (r'A="\303\251"', {"A": "é"}),
        ('A="é\x0c"', {"A": "é\x0c"}),
        # goptlib's writer
        (
            r'MESSAGE="parse \042://bad\134\042q\055"',
            {"MESSAGE": 'parse "://bad\\"q-'},
        ),
        (r'MESSAGE="\042"', {"MESSAGE": '"'}),
    ],
)
def test_pairs_are_read_as_tor_reads_them(text: str, pairs: dict[str, str]) -> None:
    """PO-12, PO-13: control-spec's strings and C strings, the first of equal keys."""
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize(
    "text",
    [
        *("word", "MESSAGE=two words", "A=b word", "=v", "A=b =c", '"A"=b'),
        *('A="b', 'A="', 'A="b\\"', 'A="b"c', 'A="b""c"', 'A="b\nc"', 'A="b\\\nc"'),
        *(r'A="\q"', r'A="\x4"', r'A="\xg0"', r'A="\8"', r'A="\a"', r'A="\é"'),
        *(r'A="\400"', r'A="\777"', r'A="\0"', r'A="\000"', r'A="\x00"'),
    ],
)
def test_what_tor_refuses_are_no_pairs(text: str) -> None:
    """PO-12: bare words, empty keys, open quotes, other escapes, a NUL."""
    assert parse_pairs(text) is None


def test_a_decoded_message_still_holds_its_control_characters() -> None:
    """PO-14: they are escaped where the message is logged."""
    line = rb'LOG SEVERITY=notice MESSAGE="\033[31m\007"'
    assert parse(line) == Log("notice", "\x1b[31m\x07")


# -- the stream ------------------------------------------------------------------------

STREAM = b"VERSION 1\nLOG x\r\n\n\0\xff\nCMETHODS DONE\nno end"
LINES = [b"VERSION 1", b"LOG x\r", b"", b"\0\xff", b"CMETHODS DONE"]


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_lines_are_the_same_in_whatever_pieces_they_come(size: int) -> None:
    """PO-01, PO-11: whole, byte by byte, and in between."""
    buffer = LineBuffer()
    lines = [
        line for part in chunks(STREAM, size) for line in buffer.receive_data(part)
    ]
    assert lines == LINES
    assert buffer.dropped == 0


def test_a_last_line_without_its_end_does_not_count() -> None:
    """PO-09: until its LF comes."""
    buffer = LineBuffer()
    assert buffer.receive_data(b"CMETHODS DONE") == []
    assert buffer.receive_data(b"") == []
    assert buffer.receive_data(b"\n") == [b"CMETHODS DONE"]


@pytest.mark.parametrize("size", [1000, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE])
def test_a_line_of_64_kib_is_taken_and_a_longer_one_dropped(size: int) -> None:
    """PO-11: up to its LF; the lines around it are not harmed."""
    assert MAX_LINE == 65_536
    longest, longer = b"x" * MAX_LINE, b"y" * (MAX_LINE + 1)
    stream = b"\n".join([b"before", longest, longer, b"between", longer, b"after", b""])
    buffer = LineBuffer()
    lines = [
        line for part in chunks(stream, size) for line in buffer.receive_data(part)
    ]
    assert lines == [b"before", longest, b"between", b"after"]
    assert buffer.dropped == 2


def test_a_line_without_end_is_counted_once_and_not_kept() -> None:
    """PO-11, SE-10: a mebibyte and more, and the next line is fine."""
    buffer = LineBuffer()
    for _ in range(40):
        assert buffer.receive_data(b"z" * MAX_LINE) == []
    assert buffer.dropped == 1
    assert buffer.receive_data(b"tail\nVERSION 1\n") == [b"VERSION 1"]
    assert buffer.dropped == 1
