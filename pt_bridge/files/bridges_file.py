"""The owner's bridge lines by name, for ``bridges=NAME``: pt-bridge.d/NAME.bridges.

They lie beside pt-bridge.conf, this user's own before the system's, one line each, as
people paste them. As plugin options travel in links, a name is no path; and a file is
believed only where nobody but root and this user could have written it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.errors import OwnerFileError, ProtocolError
from pt_bridge.files import owner_config
from pt_bridge.formats import bridge_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read(name: str, variables: Mapping[bytes, bytes]) -> Sequence[str]:
    """Return the bridge lines of a file, in order.

    Args:
        name: which one; a word, no path.
        variables: our environment.

    Raises:
        OwnerFileError: it is not there, cannot be believed or read, or holds something
            else.
    """
    paths = [
        f"{path.removesuffix('.conf')}.d/{name}.bridges"
        for path in owner_config.files(variables)
    ]
    for path in paths:
        data = owner_config.read(path)
        if data is not None:
            return lines(data, path)
    raise OwnerFileError(
        f"bridges={name} needs a file with one bridge line a line: write "
        f"{' or '.join(paths)}"
    )


def lines(data: bytes, path: str) -> list[str]:
    """Return the bridge lines in the content of a file, in order.

    Raises:
        OwnerFileError: it holds none, or something else.
    """
    found = []
    text = data.decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(str(bridge_line.parse(line)))
        except ProtocolError as error:
            raise OwnerFileError(f"{path}, line {number}: {error}") from None
    if not found:
        raise OwnerFileError(f"{path} holds no bridge line")
    return found
