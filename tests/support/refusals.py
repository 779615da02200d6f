"""What is refused, and the sentence that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def refusal_of(
    kind: type[Exception], refused: Callable[[], object], *secrets: str
) -> str:
    """Return the text of an error; it tells no secret.

    Args:
        kind: the error's class.
        refused: raises it.
        secrets: what must not stand in it.
    """
    with pytest.raises(kind) as caught:
        refused()
    text = str(caught.value)
    assert not any(secret in text for secret in secrets)
    return text
