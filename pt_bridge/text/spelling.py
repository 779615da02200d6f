"""Which known word somebody may have meant: pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

# difflib's measure: what is worth a hint, and what is nearly the same word.
SIMILAR, NEARLY_THE_SAME = 0.6, 0.8


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return a question that names what is nearest, or "" where nothing is near."""
    nearest = nearest_of(word, known, SIMILAR)
    return f": did you mean '{nearest}'?" if nearest else ""


def nearest_of(word: str, known: Collection[str], cutoff: float) -> str:
    """Return the known word that is most like another, or "" for none.

    Args:
        word: the other.
        known: the words.
        cutoff: how like it must be, `SIMILAR` or more.
    """
    # Slow to import, and needed only where something may be wrong.
    from difflib import get_close_matches

    words = sorted(known)
    return next(iter(get_close_matches(word.lower(), words, n=1, cutoff=cutoff)), "")
