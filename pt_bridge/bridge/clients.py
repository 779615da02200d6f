"""The clients of a server: who may come, who is there, how many, and from where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_bridge.bridge.admission import Admission
from pt_bridge.files import operator_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_bridge.formats.geoip import Countries
    from pt_bridge.options.config import Config
    from pt_bridge.protocol.address import Address
    from pt_bridge.status.counts import Counts


class Clients:
    """What a server knows of its clients, and what its owner says of them."""

    def __init__(self, config: Config, counts: Counts) -> None:
        """Create one that knows nobody; `read_files` comes before the first client.

        Args:
            config: what the owner asks for.
            counts: where they are counted.
        """
        self._config = config
        self._counts = counts
        self._admission = Admission(max_per_source=config.max_per_source)
        self._countries: Countries | None = None

    def read_files(self) -> Callable[[], None]:
        """Read the owner's files, at the start and whenever he says so.

        Returns:
            What lets them hold; before, nothing changes.

        Raises:
            UsageError: one cannot be read, or is wrong.
        """
        config = self._config
        deny = operator_files.networks("--deny", config.deny)
        allow = operator_files.networks("--allow", config.allow)
        countries = operator_files.countries("--geoip", config.geoip)

        def use() -> None:
            self._admission.deny, self._admission.allow = deny, allow
            self._countries = countries

        return use

    def count(self, client: Address) -> None:
        """Count who has come, once each, and the country that it comes from."""
        if not self._counts.clients.add(client.host) or self._countries is None:
            return
        if client.ip is not None:
            self._counts.countries[self._countries.of(client.ip)] += 1

    def refuse_because(self, client: Address | None) -> str | None:
        """Return why a client may not come in, in a few words; None where it may."""
        cause = self._admission.refuse_because(None if client is None else client.ip)
        if cause is not None:
            self._counts.refusals[cause] += 1
        return cause

    def enter(self, client: Address | None) -> None:
        """Count a connection of a client's."""
        self._admission.enter(None if client is None else client.ip)

    def leave(self, client: Address | None) -> None:
        """Count one less."""
        self._admission.leave(None if client is None else client.ip)
