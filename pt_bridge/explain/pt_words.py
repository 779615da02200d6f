"""What PTs write of what went wrong, and what it means."""

from __future__ import annotations

# Go's own words, mostly.
WORDS = {
    "certificate has expired or is not yet valid": (
        "the web server's certificate is out of date, or this machine's clock wrong"
    ),
    "x509:": (
        "the web server's certificate is not one that this machine believes: url= may "
        "be wrong, or somebody in between"
    ),
    "tls:": "what answered speaks no TLS: url= or the server's port may be wrong",
    "no such host": (
        "the PT found no address for a name: it may be misspelt, or this machine's DNS "
        "down or censored"
    ),
    "connection refused": "nothing listens where the PT was sent",
    "connection reset": "the server or somebody in between cut the PT's connection",
    "i/o timeout": "nothing answers where the PT was sent",
    "broker failure": (
        "the snowflake broker cannot be reached: url= or fronts= may be blocked"
    ),
}


def explain_words(words: str) -> str:
    """Return what a line that a PT wrote means, or "" where we do not know."""
    for part, meaning in WORDS.items():
        if part in words:
            return meaning
    return ""


def with_words(text: str, heard: str) -> str:
    """Return a sentence with what the PT has said: before it, where it names a cause.

    Args:
        text: what we suspect.
        heard: the PT's words as the end of a sentence, with their meaning; or "".
    """
    if explain_words(heard):
        return f"{heard.removeprefix('; ')}; {text}"
    return f"{text}{heard}"
