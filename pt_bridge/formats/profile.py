"""A shadowsocks profile: what links and configurations tell of a server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pt_bridge.errors import ProtocolError

METHOD_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
METHOD_CHARACTERS |= frozenset("0123456789-_.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What somebody tells of a server; what is not told is None, or empty.

    Attributes:
        hosts: the server's names and addresses, as `Address.host` holds them.
        port: the server's port.
        method: the name of the cipher.
        password: of any characters.
        plugin: the plugin's name or path.
        plugin_opts: the plugin options, as they stand in SS_PLUGIN_OPTIONS.
        name: what people call it (a link's tag).
        local_host: where ss-local listens, or what ss-server passes connections to.
        local_port: its port.
        fingerprint: of the Tor relay that a bridge line named.
        others: what else a ``config.json`` holds, as JSON has it.
        notes: sentences on what reading it has left out; no part of what it tells.
    """

    hosts: tuple[str, ...] = ()
    port: int | None = None
    method: str | None = None
    password: str | None = field(default=None, repr=False)
    plugin: str | None = None
    plugin_opts: str = field(default="", repr=False)
    name: str = ""
    local_host: str | None = None
    local_port: int | None = None
    fingerprint: str | None = field(default=None, repr=False)
    others: dict[str, object] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that every form can hold it.

        Raises:
            ProtocolError: one of them could not; no value is shown.
        """
        if self.method is not None and not is_method(self.method):
            raise ProtocolError("the method is not the name of a cipher")
        if self.plugin is not None and (not self.program or ";" in self.plugin):
            raise ProtocolError("the plugin's name is empty, or has a ';' in it")
        for what, text in (
            ("password", self.password),
            ("plugin's name", self.plugin),
            ("plugin options", self.plugin_opts),
            ("name", self.name),
        ):
            if text is not None and not is_text(text):
                raise ProtocolError(f"the {what} cannot be written as UTF-8")

    @property
    def program(self) -> str:
        """The plugin's name without the folder it is in, or "" without a plugin."""
        return (self.plugin or "").rpartition("/")[2]

    def with_notes(self, *notes: str) -> Profile:
        """Return the same, with more notes on what reading it has left out."""
        return replace(self, notes=(*self.notes, *notes))


def is_method(text: str) -> bool:
    """Return whether a cipher may be called that."""
    return text != "" and METHOD_CHARACTERS.issuperset(text)


def is_text(text: str) -> bool:
    """Whether text can be written: no lone surrogates, no NUL (for C programs)."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)
