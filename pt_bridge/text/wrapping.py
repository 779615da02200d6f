"""What people paste in a wrapping: escaped or encoded once more than it should be."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from urllib.parse import unquote

ESCAPED_LINK = re.compile(r"ss%3a%2f%2f", re.IGNORECASE)
ESCAPED_EQUALS = re.compile(r"^\s*[a-z-]+%3d", re.IGNORECASE)
BRIDGE_URL = re.compile(r"\s*bridge:(?://)?", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
# JSON that was written as a text in JSON once more.
JSON_STRING = re.compile(r'\s*"\s*(?:\\n|\s)*[{\[]')
# What an older link has in its base64.
PAIR = re.compile(r"[\w.-]+:(?!//)[^@]*@.*:\d+")


def inside(text: str) -> str:
    """Return what a wrapping holds, or "" where a text is none.

    An ss:// link that was percent-escaped whole, a bridge: URL, the base64 of a
    subscription, or that of a link that has lost its scheme; JSON in a text of JSON's.
    """
    if ESCAPED_LINK.search(text):
        return unquote(text)
    if ESCAPED_EQUALS.search(text) and "=" not in text:
        return unquote(text)
    if JSON_STRING.match(text):
        with contextlib.suppress(ValueError):
            return str(json.loads(text))
    url = BRIDGE_URL.match(text)
    if url:
        inner = unquote(text[url.end() :]).strip()
        return f"Bridge {inner}" if " " in inner else ""
    word = "".join(text.split())
    inner = _decoded(word)
    if PAIR.fullmatch(inner):
        return f"ss://{word}"
    return inner if "://" in inner or inner.startswith("{") else ""


def _decoded(word: str) -> str:
    """Return the text that base64 of either alphabet holds, or ""."""
    if not BASE64.fullmatch(word):
        return ""
    standard = word.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(standard + "=" * (-len(standard) % 4))
        return data.decode().strip()
    except ValueError:  # binascii.Error, UnicodeDecodeError
        return ""
