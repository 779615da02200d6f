"""Takes secrets and addresses out of what pt-bridge says (pt-spec 4).

Loopback and wildcard addresses and port numbers stay: they tell nobody anything.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SCRUBBED = "[scrubbed]"
# Shorter values (iat-mode=0) are no secrets, and would be found everywhere.
MIN_SECRET = 6
# A longer one is known by its beginning: to look for a whole one of 64 KiB, in any
# escaping, takes seconds to prepare. Escaped, a character may take so many more.
KNOWN_BY, ESCAPED_LENGTH = 512, 8
# What PTs print of arguments that we never saw: a server's own cert, for one. In
# options and ARGS, in JSON (`"cert": "..."`), and as Go writes a map (`cert:[...]`).
SECRET_ARGUMENT = re.compile(
    r"\b(cert|password|private-key|public-key|node-id|drbg-seed|shared-secret"
    r"|sqscreds|sqsqueue|url)"
    r"(\\?=[\"']?+|\\?\"[ ]?:[ ]?\\?\"|:\[?+)"
    r"(?!\)|\[scrubbed\])(?:\\[^\"']|[^\s;,\"'\\\]])+",
    re.IGNORECASE,
)
# A word may begin behind an escape, too (`\n`, `\x00`): PTs quote what they got.
ESCAPED = (
    r"(?<=\\[abefnrtv])|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\[0-7]{3})"
)
# obfs4's keys, seeds and cert, by what they look like.
KEY = re.compile(
    rf"[0-9A-Fa-f]{{40,}}"
    rf"|(?:(?<![0-9A-Za-z+/])|{ESCAPED})[0-9A-Za-z+/]{{70}}(?![0-9A-Za-z+/])"
)
# An address and its zone; no more, or a row of brackets would be read again and again.
MAX_BRACKETED = 80  # characters
URL = re.compile(
    rf"://(?:[^/\s]+(@))?(?:(\[[^\]\s]{{0,{MAX_BRACKETED}}}\]|[\w.%-]++)(:\d+)?([/?#][^\s\"'<>,;\\\]]*)?)?"
)
IPV4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
IPV6 = re.compile(
    # First what is quickly seen not to be there.
    rf"(?=[0-9A-Fa-f]{{0,8}}:)(?:(?<!\w)|{ESCAPED})[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*"
)
# A text with this many colons is no time of day.
MANY_COLONS = 5
# What programs in Go say of names that we never saw: of those that they look up, and of
# those in a certificate.
LOOKED_UP = re.compile(r"\b(lookup )(?:[^\s:\[]|\[scrubbed\])+(?=:| on | via )")
CERTIFICATE = re.compile(r"x509: .*", re.DOTALL)
IN_CERTIFICATE = re.compile(
    r'(\bvalid for ).*|(\\?")[^"]*"|(?<![\w-])[\w-]+(?:\.[\w-]+)+', re.DOTALL
)
# Host names in an argument's value: those with a dot, and those before a port.
# Possessive, so that no long word is gone through more than once.
NAME = re.compile(r"(?<![\w-])[\w-]++(?:\.[\w-]++)+")
BEGINS_WITH_LETTER = re.compile(r"[A-Za-z]")
NAME_AND_PORT = re.compile(r"(?:^|[:/@])(?=[\d_-]*+[A-Za-z])([\w-]++):\d+(?=$|/)")
# The other parts of a URL that are found alone.
PATH_AND_QUERY = re.compile(r"://[^/?#]*(/[^?#]*)?(?:[?#](.*))?")
PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
# C0, C1, line ends, what turns the direction of text around, lone surrogates.
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


# What is looked at of one text for the log, in characters: more than a line can hold.
# The end of what was cut there may be the beginning of a secret, too short to be known.
LOOKED_AT, MAY_BE_CUT = 16 * 1024, KNOWN_BY * ESCAPED_LENGTH


def log_line(text: str, scrub: Callable[[str], str]) -> str:
    """Return a text as one line for the log, scrubbed, and cut where it is too long.

    It is cut before it is scrubbed, so that no line costs more than another.
    """
    if len(text) <= LOOKED_AT:
        return one_line(scrub(text))
    return one_line(scrub(text[:LOOKED_AT])[:-MAY_BE_CUT]) + "..."


def one_line(text: str) -> str:
    """Escape control characters, so that a text can neither forge nor hide a line."""
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


class Scrubber:
    """A function from a text to the same without what must not be seen."""

    def __init__(self, *, addresses: bool = True) -> None:
        """Create one that knows no secrets yet.

        Args:
            addresses: whether addresses and host names are taken out, too.
        """
        self._addresses = addresses
        self._learnt: set[tuple[str, str]] = set()
        self._secrets: set[str] = set()
        self._names: set[str] = set()
        self._known = re.compile(r"(?!)")

    def add(self, *, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        """Learn what must not be seen; what is known already costs nothing.

        Args:
            secrets: the values of a transport's arguments, passwords: they never get
                through, however they are escaped; the hosts in them are names.
            names: host names, treated like addresses.
        """
        learnt = {("secret", text) for text in secrets}
        learnt |= {("name", text) for text in names}
        learnt -= self._learnt
        if not learnt:  # a PT that is started again says the same
            return
        self._learnt |= learnt
        names = [text for kind, text in learnt if kind == "name"]
        for secret in (text for kind, text in learnt if kind == "secret"):
            # A backslash at its beginning may be an escape.
            parts = {part.lstrip("\\") for part in _parts(secret)}
            self._secrets |= {part for part in parts if len(part) >= MIN_SECRET}
            found = [_ended_as_names(labels) for labels in NAME.findall(secret)]
            names += [name for name in found if "." in name]
            names += NAME_AND_PORT.findall(secret)
        if self._addresses:
            for name in names:
                self._names |= _spellings(name)
        patterns = [(text, _escaped_anyhow(text)) for text in self._secrets]
        patterns += [
            (name, rf"(?:(?<![\w-])|{ESCAPED}){re.escape(name)}(?![\w-])")
            for name in self._names
        ]
        # The longest first: one secret may begin with another.
        patterns.sort(key=lambda pattern: len(pattern[0]), reverse=True)
        # And first a look at the next letter, which is quick.
        first = "".join({re.escape(text[0]) for text, _ in patterns})
        anything = "|".join(pattern for _, pattern in patterns)
        self._known = re.compile(
            rf"(?=[{first}%\\])(?:{anything})" if patterns else r"(?!)", re.IGNORECASE
        )

    def __call__(self, text: str) -> str:
        """Return the text without secrets and, unless told otherwise, addresses."""
        text = self._known.sub(SCRUBBED, text)
        text = SECRET_ARGUMENT.sub(rf"\1\2{SCRUBBED}", text)
        text = KEY.sub(SCRUBBED, text)
        text = URL.sub(self._scrub_url, text)
        if self._addresses:
            text = CERTIFICATE.sub(_scrub_certificate, text)
            text = IPV6.sub(_scrub_ipv6, text)
            text = IPV4.sub(_scrub_ipv4, text)
            text = LOOKED_UP.sub(rf"\1{SCRUBBED}", text)
        return text

    def _scrub_url(self, match: re.Match[str]) -> str:
        """Leave the port of a URL, and the host where that may be seen."""
        at, host, port, rest = match.groups(default="")
        user = f"{SCRUBBED}@" if at else ""
        if host and self._addresses and not _tells_nothing(host.strip("[]")):
            host = SCRUBBED
        if len(rest) > 1:
            rest = f"{rest[0]}{SCRUBBED}"
        return f"://{user}{host}{port}{rest}"


def _parts(secret: str) -> Iterator[str]:
    """Return what of a value may be found alone: of a list, of a URL; and unquoted."""
    for part in (secret, *secret.split(",")):
        for each in (part, _unquoted(part)):
            yield each
            if url := PATH_AND_QUERY.search(each):
                yield (url[1] or "").rstrip("/")
                yield url[2] or ""


def _ended_as_names(labels: str) -> str:
    """Leave out the last labels that begin with no letter: no name ends so."""
    kept = labels.split(".")
    while kept and not BEGINS_WITH_LETTER.match(kept[-1]):
        kept.pop()
    return ".".join(kept)


def _unquoted(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    data = PERCENT.sub(lambda match: bytes.fromhex(match[1].decode()), data)
    return data.decode("utf-8", "surrogateescape")


def _escaped_anyhow(secret: str) -> str:
    r"""Create a pattern for a secret in any escaping.

    Options, SOCKS, ARGS and TOR_PT_* put backslashes before this or that, JSON, Python
    and Go quote, URLs have ``%40``, goptlib ``\100``; and one does so upon another.
    """
    pattern, before, at_least_one = "", "", r"\\"
    for character in secret[:KNOWN_BY]:
        code = ord(character)
        as_number = rf"{at_least_one}(?:x{code:02x}|u{code:04x}|{code:03o})|%{code:02x}"
        if character.isalnum():
            pattern += character
        elif character != "\\":
            pattern += rf"(?:{before}{re.escape(character)}|{as_number})"
        elif before:
            pattern += rf"(?:{as_number}|\\++)"
        # Possessive, so that no long row of backslashes is gone through twice.
        before, at_least_one = "" if character == "\\" else r"\\*+", r"\\++"
    if rest := len(secret[KNOWN_BY:]):
        pattern += rf"[\s\S]{{0,{ESCAPED_LENGTH * rest}}}+"
    return pattern


def _spellings(name: str) -> set[str]:
    """Return a host name with letters of all scripts, and as the DNS has it."""
    name = name.strip(".").lower()
    if not name or name == "localhost" or ":" in name or IPV4.fullmatch(name):
        return set()
    try:
        dns = name.encode("idna").decode() if not name.isascii() else name
        other = dns.encode().decode("idna") if "xn--" in dns else dns
    except UnicodeError:  # no name of the DNS
        dns = other = name
    return {name, dns, other}


def _tells_nothing(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    inner = (ip.version == 6 and ip.ipv4_mapped) or ip
    return inner.is_loopback or inner.is_unspecified


def _scrub_certificate(match: re.Match[str]) -> str:
    return IN_CERTIFICATE.sub(_scrub_in_certificate, match[0])


def _scrub_in_certificate(match: re.Match[str]) -> str:
    before, quote = match.groups(default="")
    return f"{before}{quote}{SCRUBBED}{quote}"


def _scrub_ipv4(match: re.Match[str]) -> str:
    # Others are 300.1.1.1, or have leading zeros: better safe.
    return match[0] if _tells_nothing(match[0]) else SCRUBBED


def _scrub_ipv6(match: re.Match[str]) -> str:
    token = match[0].rstrip(".")
    # "dial tcp 2001:db8::1: refused", and "::" as it is
    if token.endswith(":") and (token.endswith(":::") or not token.endswith("::")):
        token = token[:-1]
    rest = match[0][len(token) :]
    try:
        ipaddress.IPv6Address(token)
    except ValueError:
        looks_like_one = "::" in token or token.count(":") >= MANY_COLONS
        return SCRUBBED + rest if looks_like_one else match[0]
    return match[0] if _tells_nothing(token) else SCRUBBED + rest
