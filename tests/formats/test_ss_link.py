"""ss:// links: SIP002, and the form before it."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pt_bridge.errors import ProtocolError
from pt_bridge.formats.profile import Profile, is_text
from pt_bridge.formats.ss_link import MAX_FIELDS, MAX_LENGTH, parse, serialize
from tests.support.refusals import refusal_of

SECRET = "s3cret"
KEY = "YctPZ6U7xPPcU+gp3u+0tx/tRizJN9K8y+uKlW2qjlI="
OPTIONS = r"transport=obfs4;cert=AAAA+/;iat-mode=0;url=https://e/a\;b?c=d"


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def refusal(text: str) -> str:
    """Return the text of the refusal, which tells no secret."""
    return refusal_of(ProtocolError, lambda: parse(text), SECRET)


# -- reading ---------------------------------------------------------------------------

# SIP002's own examples, and what it says of each.
SIP002 = [
    (
        "ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1",
        Profile(method="aes-128-gcm", password="test", name="Example1"),
    ),
    (
        (
            "ss://cmM0LW1kNTpwYXNzd2Q@192.168.100.1:8888/?plugin=obfs-local%3Bobfs%3Dhttp"
            "#Example2"
        ),
        Profile(
            method="rc4-md5",
            password="passwd",
            plugin="obfs-local",
            plugin_opts="obfs=http",
            name="Example2",
        ),
    ),
    (
        (
            "ss://2022-blake3-aes-256-gcm:YctPZ6U7xPPcU%2Bgp3u%2B0tx%2FtRizJN9K8y%2BuKlW2q"
            "jlI%3D@192.168.100.1:8888#Example3"
        ),
        Profile(method="2022-blake3-aes-256-gcm", password=KEY, name="Example3"),
    ),
    (
        (
            "ss://2022-blake3-aes-256-gcm:YctPZ6U7xPPcU%2Bgp3u%2B0tx%2FtRizJN9K8y%2BuKlW2q"
            "jlI%3D@192.168.100.1:8888/?plugin=v2ray-plugin%3Bserver#Example3"
        ),
        Profile(
            method="2022-blake3-aes-256-gcm",
            password=KEY,
            plugin="v2ray-plugin",
            plugin_opts="server",
            name="Example3",
        ),
    ),
]


@pytest.mark.parametrize(("link", "told"), SIP002)
def test_the_examples_of_the_specification_are_read(link: str, told: Profile) -> None:
    """SIP002; and written again, they are the same."""
    profile = replace(told, hosts=("192.168.100.1",), port=8888)
    assert parse(link) == profile
    assert serialize(profile) == link


USERINFO = encoded("aes-256-gcm:p@ss:w/ord")
PLAIN = Profile(
    hosts=("192.0.2.1",), port=8388, method="aes-256-gcm", password="p@ss:w/ord"
)


@pytest.mark.parametrize(
    "link",
    [
        f"ss://{USERINFO}@192.0.2.1:8388",
        f"SS://{USERINFO}@192.0.2.1:8388/",
        f" ss://{USERINFO}@192.0.2.1:8388#\r\n",
        f'"ss://{USERINFO}@192.0.2.1:8388"',
        f"\ufeffss://{USERINFO[:9]} \n  {USERINFO[9:]}@192.0.2.\u200b1:8388",
        f"ss://{USERINFO}==@192.0.2.1:8388",
        f"ss://{USERINFO}%3D%3D@192.0.2.1:8388/?",
        f"ss://{USERINFO}@192.0.2.1:8388/?unsupported=argument",
        f"ss://{USERINFO}@192.0.2.1:8388/?plugin=",
        "ss://aes-256-gcm:p%40ss%3Aw%2Ford@192.0.2.1:8388",
        "ss://aes-256-gcm:p@ss:w%2ford@192.0.2.1:8388",
        "ss://aes-256-gcm%3Ap%40ss%3Aw%2Ford@192.0.2.1:8388",
        f"ss://{encoded('aes-256-gcm:p@ss:w/ord@192.0.2.1:8388')}",
        f"ss://{base64.b64encode(b'aes-256-gcm:p@ss:w/ord@192.0.2.1:8388').decode()}#",
        f"ss://{encoded('aes-256-gcm:p@ss:w/ord@192.0.2.1:8388')}/?plugin=",
    ],
)
def test_a_link_may_be_written_in_many_ways(link: str) -> None:
    """SIP002, the form before it, and what programs and people make of both."""
    assert parse(link) == PLAIN


def test_base64_may_have_either_alphabet() -> None:
    """SIP002 has '-' and '_'; older programs write '+' and '/'."""
    text = "none:\u00fb\u00ff\u00fe\U0003f7ff>>>???"
    standard = base64.b64encode(text.encode()).decode()
    assert set(standard) & set("+/")
    link = f"ss://{{}}@a.example:1#{'tag'}"
    assert parse(link.format(standard)) == parse(link.format(encoded(text)))


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("192.0.2.1:8388", "192.0.2.1"),
        ("[2001:DB8::1]:8388", "2001:db8::1"),
        ("%5B2001:db8::1%5D:8388", "2001:db8::1"),
        ("[2001%3adb8%3A%3a1]:8388", "2001:db8::1"),
        ("Server.example:8388", "server.example"),
        ("b\u00fccher.example:8388", "xn--bcher-kva.example"),
    ],
)
def test_the_server_may_be_a_name_or_an_address_of_either_kind(
    place: str, host: str
) -> None:
    """Demand 8."""
    profile = parse(f"ss://{USERINFO}@{place}/?plugin=pt-bridge%3Ba%3Db#x")
    assert (profile.hosts, profile.port) == ((host,), 8388)


@pytest.mark.parametrize(
    ("query", "plugin", "options"),
    [
        ("plugin=pt-bridge", "pt-bridge", ""),
        ("plugin=pt-bridge%3Btransport%3Dobfs3", "pt-bridge", "transport=obfs3"),
        ("plugin=pt-bridge;a=b\\;c d", "pt-bridge", r"a=b\;c d"),
        ("plugin=pt-bridge%3Ba%3Db%2Bc+d%20e", "pt-bridge", "a=b+c d e"),
        ("a=b&plugin=p%3Bq&plugin=p%3Bq", "p", "q"),
        ("a&plugin=p%3Bb%26c", "p", "b&c"),
        ("plugin=%3Ba%3Db", None, "a=b"),
        ("", None, ""),
    ],
)
def test_the_plugin_stands_in_the_query(
    query: str, plugin: str | None, options: str
) -> None:
    """SIP002: percent-encoded; a form's '+' is a blank, as hosts read it."""
    profile = parse(f"ss://{USERINFO}@192.0.2.1:8388/?{query}")
    assert (profile.plugin, profile.plugin_opts) == (plugin, options)


@pytest.mark.parametrize(
    ("link", "notes"),
    [
        (f"ss://{USERINFO}@192.0.2.1:8388", 0),
        (f"ss://{USERINFO}@192.0.2.1:8388/?plugin=pt-bridge%3Ba%3Db%20c", 0),
        (f"ss://{USERINFO}@192.0.2.1:8388/?v2ray-plugin=e30", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388/?outline=1&prefix=%16%03%01", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388/?=s3cret&{'k' * 99}", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388/some/path", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388/?plugin=a%3Bb+c", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388#%C4%E3", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388#Name\nmore", 1),
        (f"ss://{USERINFO}@192.0.2.1:8388/path?group=Zw#%C4%E3", 3),
    ],
)
def test_what_is_left_out_of_a_link_is_told(link: str, notes: int) -> None:
    """Each thing once, by its name, and no value of it."""
    profile = parse(link)
    assert replace(profile, plugin=None, plugin_opts="", name="") == PLAIN
    assert len(profile.notes) == notes
    assert SECRET not in str(profile.notes)


def test_the_fields_that_are_left_out_are_named() -> None:
    (note,) = parse(f"ss://{USERINFO}@h:1/?outline=1&prefix=%16&%20=&outline=2").notes
    assert note == (
        "left out of the link, for SIP002 has only plugin= there: outline, prefix, ..."
    )


@pytest.mark.parametrize("field", ["plugin-opts", "plugin_opts"])
def test_the_plugins_options_may_have_a_field_of_their_own(field: str) -> None:
    """Some panels write links so; hosts pass over it."""
    profile = parse(f"ss://{USERINFO}@192.0.2.1:8388/?plugin=p&{field}=a%3Db")
    assert (profile.plugin, profile.plugin_opts) == ("p", "a=b")
    assert len(profile.notes) == 1
    profile = parse(f"ss://{USERINFO}@192.0.2.1:8388/?plugin=p%3Bc&{field}=a%3Db")
    assert profile.plugin_opts == "c"
    assert field in profile.notes[0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_end_of_echo_is_no_part_of_the_password(end: str) -> None:
    """'echo method:password | base64' puts it there."""
    profile = parse(f"ss://{encoded(f'aes-256-gcm:p@ss:w/ord{end}')}@192.0.2.1:8388")
    assert profile == PLAIN
    assert "'echo ... | base64'" in profile.notes[0]
    assert (
        parse(f"ss://{encoded(f'aes-256-gcm:p@ss:w/ord@192.0.2.1:8388{end}')}") == PLAIN
    )


@pytest.mark.parametrize(
    "link",
    [
        f"ss://{USERINFO}%253D@192.0.2.1:8388",
        f"ss://{USERINFO}@192.0.2.1%253A8388",
        f"ss://{USERINFO}@192.0.2.1:8388/?plugin=pt-bridge%253Ba%253Db",
    ],
)
def test_what_was_escaped_twice_is_read(link: str) -> None:
    plugin = {"plugin": "pt-bridge", "plugin_opts": "a=b"} if "plugin" in link else {}
    assert parse(link) == replace(PLAIN, **plugin)  # type: ignore[arg-type]


NO_BASE64 = "method and password are not base64 in it: was it copied whole?"
WRONG = {
    "it does not begin with ss://": ["", "s3cret", "ss:/x", "https://s3cret@h:1"],
    NO_BASE64: [
        *("ss://s3cret@192.0.2.1:1", "ss://!@h:1", "ss://é@h:1"),
        "ss:///w@h:1",
        f"ss://{USERINFO}@s3cret@h:1",
    ],
    "there is no ':' between method and password: was it copied whole?": [
        f"ss://{encoded('s3cret')}@192.0.2.1:1",
        f"ss://{encoded('s3cret@192.0.2.1:1')}",
        "ss://@h:1",
    ],
    "it has no '@' before the server: was it copied whole?": [
        f"ss://{encoded('aes-256-gcm:s3cret')}",
        "ss://",
    ],
    "the server is wrong: it must be HOST:PORT, an IPv6 address in brackets": [
        f"ss://{USERINFO}@192.0.2.1",
        f"ss://{USERINFO}@:1",
        f"ss://{USERINFO}@/?plugin=s3cret",
    ],
    "the server is wrong: it must be a port from 1 to 65535": [
        f"ss://{USERINFO}@192.0.2.1:0",
        f"ss://{USERINFO}@192.0.2.1:s3cret",
    ],
    "the server is wrong: an IPv6 address must stand in brackets: [::1]:443": [
        f"ss://{USERINFO}@2001:db8::1:1"
    ],
    "what stands behind a '%' in it is not UTF-8": [
        *("ss://a:s3cret%ff@h:1", "ss://%ff:s3cret@h:1", f"ss://{USERINFO}@h%ff:1"),
    ],
    "the server is wrong: it has a '...://' before it": [
        f"ss://{USERINFO}@http://s3cret:1"
    ],
    "it has 2 plugins: leave one in it": [
        f"ss://{USERINFO}@h:1/?plugin=s3cret&plugin=b"
    ],
    "the plugin's name cannot be written as UTF-8": [
        f"ss://{USERINFO}@h:1/?plugin=s3cret%ff"
    ],
    f"behind the '?' stand more than {MAX_FIELDS} fields": [
        f"ss://{USERINFO}@h:1/?{'a=s3cret&' * MAX_FIELDS}b",
    ],
    "the method is not the name of a cipher": [
        "ss://:s3cret@h:1",
        "ss://a%20b:s3cret@h:1",
        f"ss://{encoded('a/b:s3cret')}@h:1",
    ],
    "the password cannot be written as UTF-8": [
        "ss://a:s3cret%00@h:1",
        "ss://a:s3cret\udcff@h:1",
    ],
    "the plugin's name is empty, or has a ';' in it": [
        f"ss://{USERINFO}@h:1/?plugin=s3cret%2F%3Bs3cret"
    ],
    f"it is longer than {MAX_LENGTH} characters": [f"ss://{'s3cret' * MAX_LENGTH}"],
}


@pytest.mark.parametrize(
    ("link", "message"),
    [(link, message) for message, links in WRONG.items() for link in links],
)
def test_whatever_is_no_link_is_refused_with_the_reason(
    link: str, message: str
) -> None:
    """ER-03, SE-05: and no part of it is shown."""
    assert refusal(link) == message


def test_the_longest_link_is_read() -> None:
    """SE-10: a limit that is tested on both of its sides."""
    link = f"ss://{USERINFO}@h:1#".ljust(MAX_LENGTH, "a")
    assert parse(link).name.startswith("aaa")
    assert refusal(f"{link}a").startswith("it is longer than")


# -- writing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "link"),
    [
        (PLAIN, f"ss://{USERINFO}@192.0.2.1:8388"),
        (
            replace(PLAIN, hosts=("2001:db8::1", "b.example"), plugin="/opt/pt-bridge"),
            f"ss://{USERINFO}@[2001:db8::1]:8388/?plugin=pt-bridge",
        ),
        (
            replace(PLAIN, method="2022-x", password="a/b=:c +", name="\u00fc &#"),
            "ss://2022-x:a%2Fb%3D%3Ac%20%2B@192.0.2.1:8388#%C3%BC%20%26%23",
        ),
        (
            replace(PLAIN, plugin="pt-bridge", plugin_opts=r"a=b+ \;c&#"),
            (
                f"ss://{USERINFO}@192.0.2.1:8388"
                "/?plugin=pt-bridge%3Ba%3Db%2B%20%5C%3Bc%26%23"
            ),
        ),
    ],
)
def test_a_link_is_written_as_the_specification_says(
    profile: Profile, link: str
) -> None:
    """SIP002: base64url without padding; 2022's ciphers percent-encoded (SIP022)."""
    assert serialize(profile) == link


TEXTS = st.text(max_size=20).filter(is_text)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
PROFILES = st.builds(
    Profile,
    hosts=st.tuples(
        st.ip_addresses().map(str) | st.sampled_from(["a.example", "localhost"])
    ),
    port=st.integers(1, 65535),
    method=NAMES | NAMES.map("2022-{}".format),
    password=TEXTS,
    plugin=st.just("pt-bridge"),
    plugin_opts=TEXTS,
    name=TEXTS,
)


@settings(database=None, deadline=None)
@given(PROFILES)
@example(
    Profile(hosts=("::1",), port=1, method="2022-x", password=KEY, plugin_opts=OPTIONS)
)
def test_parsing_undoes_writing(profile: Profile) -> None:
    """OG-12, demand 8: whatever the password, the options and the name."""
    if profile.plugin is None:
        profile = replace(profile, plugin="pt-bridge")
    assert parse(serialize(profile)) == profile


@settings(database=None, deadline=None)
@given(PROFILES)
def test_the_standard_library_reads_what_we_write(profile: Profile) -> None:
    """SIP002: links 'can be parsed by standard libraries'; hosts do it like that."""
    url = urlsplit(serialize(profile))
    assert url.scheme == "ss"
    assert (url.hostname, url.port) == (profile.hosts[0], profile.port)
    if url.password is None:
        assert url.username is not None
        padding = "=" * (-len(url.username) % 4)
        pair = base64.urlsafe_b64decode(url.username + padding).decode()
    else:
        pair = f"{unquote(url.username or '')}:{unquote(url.password)}"
    assert pair == f"{profile.method}:{profile.password}"
    (plugin,) = parse_qs(url.query)["plugin"]
    name, _, options = plugin.partition(";")
    assert (name, options) == ("pt-bridge", profile.plugin_opts)
    assert unquote(url.fragment) == profile.name


@settings(database=None, deadline=None)
@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            [
                *("ss://", USERINFO, "@", "h:1", "[::1]:1", "/", "?plugin=", "%ff"),
                *("%00", "a;b", "#", "=", ":", "\ud800", "\u00e9", "YWVzOng", "&"),
            ]
        ),
        max_size=9,
    ).map("".join)
)
def test_only_a_protocol_error_ever_comes_out(text: str) -> None:
    """And what is read can be written and read again."""
    try:
        profile = parse(text)
    except ProtocolError:
        return
    if profile.plugin is None:
        profile = replace(profile, plugin_opts="")
    assert parse(serialize(profile)) == profile


def test_a_link_that_ends_within_our_name_was_not_copied_whole() -> None:
    """No plugin is called that."""
    assert refusal("ss://YTpi@192.0.2.1:1?plugin=pt-brid") == (
        "its plugin is 'pt-brid', which is how 'pt-bridge' begins: was it copied whole?"
    )
    assert parse("ss://YTpi@192.0.2.1:1?plugin=pt-bridge").plugin == "pt-bridge"
