"""The bridge lines and links that stand in a text, among whatever else is there.

People paste a whole mail, a torrc, a list with numbers, a line out of a program's
source or log. Each bridge line and each link is cut out of it as it stands there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pt_bridge.errors import ProtocolError
from pt_bridge.protocol.pt_args import decode_server
from pt_bridge.text.quoting import CLOSING_QUOTES, OPENING_QUOTES

if TYPE_CHECKING:
    from collections.abc import Collection

QUOTES = re.escape(OPENING_QUOTES)
# What stands behind a transport in a bridge line, and hardly in a sentence.
ADDRESS = r"""(?:\[[0-9A-Fa-f:.%]{2,60}\](?::\d+)?|\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?
    |[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,60}:[0-9A-Fa-f]{0,5}
    |[^\s:=/@"'<>,]{1,253}:\d{1,9}|<[^<>\n]{1,40}>\S*)"""
BRIDGE_START = re.compile(
    rf"""(?P<quote>[{QUOTES}]?)(?<![\w.:/=@+-])(?P<keyword>bridge\s+)?
    (?<![\w.:/=@+-])(?P<transport>(?!bridge\s)[A-Za-z_]\w{{0,60}})\s+(?P<address>{ADDRESS})
    (?=[\s{re.escape(CLOSING_QUOTES)};)\]]|\\|$)""",
    re.IGNORECASE | re.VERBOSE,
)
# Before a bridge line whose transport nobody knows: a list's mark, and nothing else.
MARK = re.compile(r"[\s>*\u2022\u00b7\u2013\u2014.()\[\]0-9-]*")
KEYWORD = "Bridge"
FINGERPRINT = re.compile(r"\$?[0-9A-Fa-f]{40}|<FINGERPRINT>")
# Words before an address that are no transport's, but behind 'Bridge'.
NO_TRANSPORT = frozenset(
    {
        *("server", "address", "addr", "host", "ip", "local", "remote", "port"),
        *("proxy", "listen", "listening", "endpoint", "relay", "exec", "tcp", "udp"),
        *("socks", "socks4", "socks5", "http", "https", "at", "on", "to", "from", "is"),
    }
)
# Lines of a torrc, or of a PT, that name a transport with an address of another kind.
OTHER_LINE = re.compile(
    r"^[^\S\n]*\+?(?:(?:Client|Server)Transport\w+|CMETHOD|EXTERNAL)\b.*$",
    re.IGNORECASE | re.MULTILINE,
)
SMETHOD = re.compile(
    r"(?P<before>^|[^\w])SMETHOD\s+(?P<transport>[A-Za-z_]\w*)\s+(?P<address>\S+)"
    r"(?:[^\S\n]+ARGS:(?P<arguments>\S*))?"
)
COMMENT = re.compile(r"(?:(?<=\s)|^)#.*$", re.MULTILINE)
CONTINUED = re.compile(r"\\[^\S\n]*\r?\n")
LINK_START = re.compile(r"(?<![\w.+=-])ss://", re.IGNORECASE)
# A line that goes on with a bridge line that is broken: an argument, a fingerprint, or
# the rest of a cert.
GOES_ON = re.compile(r"(?:\S+ )*?\S+=.*|\$?[0-9A-Fa-f]{40}|[A-Za-z0-9+/=]{20,}")
WORD = re.compile(r"[^\W\d_]\w*")
BEHIND_A_LINK = ".,;:!?)"
MOST_MARKS = 8  # words behind a bridge line that are no word: a table's bar, for one
BRACKETS = {"(": ")", "<": ">", "[": "]", "{": "}"}
BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
BEHIND = ",;)] \t\r\n"


class Excerpts(NamedTuple):
    """What stands in a text.

    Attributes:
        texts: each, as it stands there; the same is there once.
        is_all: whether nothing stands around it that could mean something.
        rest: what stands around it.
    """

    texts: list[str]
    is_all: bool
    rest: str


def bridge_lines(text: str, transports: Collection[str]) -> Excerpts:
    """Return the bridge lines in a text, those in an SMETHOD line of a PT's included.

    Args:
        text: without characters that cannot be seen.
        transports: those that are known: they are found anywhere, others where they
            begin a line.
    """
    text = COMMENT.sub("", CONTINUED.sub(" ", text))
    without_others = OTHER_LINE.sub("", text)
    rest = SMETHOD.sub(_as_bridge_line, without_others)
    starts = [
        start
        for start in BRIDGE_START.finditer(rest)
        if _is_one(rest, start, transports)
    ]
    found, around, done = [], [], 0
    limits = [start.start() for start in starts[1:]] + [len(rest)]
    for start, limit in zip(starts, limits, strict=False):
        around.append(rest[done : start.start()])
        done = _end(rest, start, limit)
        found.append(rest[start.start("transport") : done])
    around.append(rest[done:])
    found = [_without_marks(line) for line in found]
    is_all = without_others == text and not any(map(_says_something, around))
    if len(found) > 1 or not is_all:  # or it is what stands there, to the letter
        found = [line.rstrip(BEHIND) for line in found]
    return Excerpts(list(dict.fromkeys(found)), is_all, "\n".join(around))


def _as_bridge_line(line: re.Match[str]) -> str:
    """Write what a server's PT prints as a bridge line (pt-spec 3.3.3)."""
    try:
        pairs = decode_server(line["arguments"] or "")
    except ProtocolError:
        return line[0].partition(" ")[2]  # is refused as a bridge line, with a reason
    words = [line["transport"], line["address"], *map("=".join, pairs)]
    return f"{line['before']}{' '.join(words)}"


def _is_one(text: str, start: re.Match[str], transports: Collection[str]) -> bool:
    """Whether this is a bridge line, and no word that happens to precede an address."""
    name = start["transport"]
    if name in transports:
        return True
    if start["address"].replace(":", "").isdigit():
        return False
    begin = text.rfind("\n", 0, start.start()) + 1
    begins_line = MARK.fullmatch(text, begin, start.start()) is not None
    keyword, is_word = start["keyword"] or "", name.lower() in NO_TRANSPORT
    if not (begins_line and keyword if is_word else begins_line or keyword):
        return False
    behind = text.find("\n", start.end())
    line = text[start.end() : len(text) if behind == -1 else behind]
    first = next(iter(line.split()), None)
    if first is None:  # 'bridge is 192.0.2.1:443' says something else
        return keyword.startswith(KEYWORD) or not is_word
    return "=" in first or FINGERPRINT.fullmatch(first) is not None


def _end(text: str, start: re.Match[str], limit: int) -> int:
    """Return where a bridge line ends: with its quotes, or its last argument's line."""
    quote = start["quote"]
    if quote:
        closing = quote if quote in "\"'`" else CLOSING_QUOTES
        for end in range(start.end(), limit):
            if text[end] in closing:
                return end
    end = text.find("\n", start.end(), limit)
    while end != -1:
        behind = text.find("\n", end + 1, limit)
        line = text[end:limit] if behind == -1 else text[end:behind]
        if not GOES_ON.fullmatch(" ".join(line.split())):
            return end
        end = behind
    return limit


def _without_marks(line: str) -> str:
    """Return a bridge line without the marks behind it: they are no arguments."""
    for _ in range(MOST_MARKS):
        head, *last = line.rsplit(maxsplit=1)
        if not last or "=" in last[0] or any(map(str.isalnum, last[0])):
            break
        line = head
    return line


def _blank_within(link: str) -> int | None:
    """Return where a blank ends a link before its query and its name, or None."""
    done = 0
    for line in link.splitlines(keepends=True):
        body = line.rstrip()
        lead = len(body) - len(body.lstrip())
        words = body[lead:].split(maxsplit=1)
        if words and ("?" in words[0] or "#" in words[0]):
            return None
        if len(words) > 1:
            return done + lead + len(words[0])
        done += len(line)
    return None


def _says_something(text: str) -> bool:
    """Whether there are words, not only list marks, quotes or a torrc's remains."""
    words = (word.lower() for word in WORD.findall(text))
    return any(len(word) > 1 and word != "bridge" for word in words)


def links(text: str) -> Excerpts:
    """Return the ss:// links in a text.

    A link ends where the next one begins, with its quotes, or with the line of its
    name; lines that a mail program broke are left to it.
    """
    starts = [start.start() for start in LINK_START.finditer(text)]
    found: list[str] = []
    around = [text[: starts[0]] if starts else text]
    for start, limit in zip(starts, [*starts[1:], len(text)], strict=False):
        link = text[start:limit]
        end = _blank_within(link)
        quote = text[start - 1 : start]
        if quote in BRACKETS and BRACKETS[quote] in link:
            link = link.partition(BRACKETS[quote])[0]
        elif quote and quote in OPENING_QUOTES:
            closing = quote if quote in "\"'`" else CLOSING_QUOTES
            link = re.split(f"[{re.escape(closing)}]", link, maxsplit=1)[0]
        elif end is not None:
            link = link[:end].rstrip(BEHIND_A_LINK)
        elif BLANK_LINE.search(link.rstrip()):
            link = BLANK_LINE.split(link, maxsplit=1)[0]
        head, mark, tag = link.partition("#")
        link = f"{head}{mark}{next(iter(tag.splitlines()), '')}" if mark else head
        if "#" not in link and len(found) + len(text[:start]):
            link = link.rstrip().rstrip(BEHIND_A_LINK)
        found.append(link.rstrip())
        around.append(text[start + len(link) : limit])
    is_all = not any(map(_says_something, around))
    return Excerpts(list(dict.fromkeys(found)), is_all, "\n".join(around))
