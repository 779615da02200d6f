"""A shadowsocks profile: what every form can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.profile import Profile, is_method, is_text

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cret"


def test_what_is_not_told_is_none_or_empty() -> None:
    profile = Profile()
    assert (profile.hosts, profile.port, profile.method) == ((), None, None)
    assert (profile.password, profile.plugin, profile.program) == (None, None, "")
    assert (profile.plugin_opts, profile.name, profile.others) == ("", "", {})
    assert (profile.local_host, profile.local_port) == (None, None)


@pytest.mark.parametrize(
    "method", ["aes-256-gcm", "2022-blake3-aes-128-gcm", "rc4-md5", "none", "A_1.x"]
)
def test_a_cipher_has_a_name(method: str) -> None:
    assert is_method(method)
    assert Profile(method=method).method == method


@pytest.mark.parametrize(
    "method", ["", "a b", "a:b", "a@b", "é", "a\n", "a/b", "\udcff"]
)
def test_nothing_else_is_a_cipher(method: str) -> None:
    """A ':' in it would end it in a link."""
    assert not is_method(method)
    with pytest.raises(ProtocolError, match=r"^the method is not the name of a cipher"):
        Profile(method=method)


@pytest.mark.parametrize(
    ("plugin", "program"),
    [
        ("pt-bridge", "pt-bridge"),
        ("/usr/local/bin/pt-bridge", "pt-bridge"),
        ("bin/obfs-local", "obfs-local"),
    ],
)
def test_a_plugin_may_be_a_path(plugin: str, program: str) -> None:
    assert Profile(plugin=plugin).program == program


@pytest.mark.parametrize("plugin", ["", "/usr/bin/", "a;b", "a\0", "\ud800"])
def test_a_plugin_that_a_link_could_not_name_is_refused(plugin: str) -> None:
    """SIP002: the first ';' ends its name."""
    with pytest.raises(ProtocolError):
        Profile(plugin=plugin)


@pytest.mark.parametrize("text", ["", "é", "\t\x1b", "\U0001f600", "a\nb"])
def test_text_is_whatever_utf_8_can_write(text: str) -> None:
    assert is_text(text)
    assert Profile(password=text, name=text, plugin_opts=text).password == text


@pytest.mark.parametrize("text", ["\0", "a\udcff", "\ud800"])
def test_lone_surrogates_and_nul_are_no_text(text: str) -> None:
    """FE-11: the one cannot be written, the other ends a text in C."""
    assert not is_text(text)
    secret = SECRET + text
    makes: list[Callable[[], Profile]] = [
        lambda: Profile(password=secret),
        lambda: Profile(name=secret),
        lambda: Profile(plugin_opts=secret),
    ]
    for make in makes:
        with pytest.raises(
            ProtocolError, match=r"cannot be written as UTF-8"
        ) as caught:
            make()
        assert SECRET not in str(caught.value)


def test_a_profile_shown_by_a_debugger_shows_no_secret() -> None:
    """SE-05."""
    profile = Profile(
        password=SECRET,
        plugin_opts=f"cert={SECRET}",
        fingerprint=SECRET,
        others={"key": SECRET},
    )
    assert SECRET not in repr(profile)


def test_notes_come_behind_those_that_are_there() -> None:
    profile = Profile(notes=("one",)).with_notes("two", "three")
    assert profile.notes == ("one", "two", "three")
