"""The four forms in which people hand each other a way to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import OptionsError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

BRIDGE, OPTIONS, LINK, JSON = FORMS = ("bridge", "options", "link", "json")
NAMES = {
    BRIDGE: "bridge line",
    OPTIONS: "string of plugin options",
    LINK: "shadowsocks link",
    JSON: "shadowsocks configuration",
}
# What shadowsocks starts, by whatever path.
PLUGIN = "pt-bridge"
# Said of whatever is read out of something longer.
TEXT_AROUND = "left out: the text around it"


def named(form: str, parse: Callable[[], T]) -> T:
    """Parse, and say of an error in which form it is.

    Args:
        form: one of `FORMS`, or what else it is.
        parse: reads it.

    Raises:
        OptionsError: it is wrong.
    """
    try:
        return parse()
    except ProtocolError as error:
        raise OptionsError(f"this {NAMES.get(form, form)} is wrong: {error}") from None
