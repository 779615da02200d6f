"""What people paste that is no way to a shadowsocks server, by its name."""

from __future__ import annotations

import re

# What each scheme is called; nobody reads it but the programs named.
SCHEMES = {
    "ssr": "ShadowsocksR, another protocol",
    "ssconf": "an address where Outline fetches its key: open it as https://, and give "
    "what stands there",
    "ssd": "a subscription: give one ss:// link out of it",
    "sub": "a subscription: give one ss:// link out of it",
    "vmess": "another protocol",
    "vless": "another protocol",
    "trojan": "another protocol",
    "hysteria": "another protocol",
    "hysteria2": "another protocol",
    "hy2": "another protocol",
    "tuic": "another protocol",
    "juicity": "another protocol",
    "anytls": "another protocol",
    "snell": "another protocol",
    "naive+https": "another protocol",
    "wireguard": "another protocol",
    "wg": "another protocol",
    "socks": "a proxy; your own goes into upstream-proxy=",
    "socks4": "a proxy; your own goes into upstream-proxy=",
    "socks5": "a proxy; your own goes into upstream-proxy=",
    "sn": "NekoBox's own form: let it share the server as an ss:// link",
    "nekoray": "NekoRay's own form: let it share the server as an ss:// link",
    "clash": "the address of a subscription: give one server out of it",
    "clashmeta": "the address of a subscription: give one server out of it",
    "sing-box": "the address of a subscription: give one server out of it",
    "shadowrocket": "the address of a subscription: give one server out of it",
    "tg": "a proxy for Telegram",
    "bridge": "give the bridge line that stands in it, with blanks between its words",
    "http": "a web address, of a subscription perhaps: open it, and give one server "
    "out of what stands there",
    "https": "a web address, of a subscription perhaps: open it, and give one server "
    "out of what stands there",
}
# Those that are read letter by letter, or begin with a vowel.
SPELT = frozenset({"ssr", "ssconf", "ssd", "sn", "anytls", "http", "https", "hy2"})
# No part of a longer word, nor the value of an argument. Of those without '//' behind
# their ':' only 'bridge:' is known, where no blank follows.
URL = re.compile(
    rf"(?<![\w.+=/-])({'|'.join(map(re.escape, SCHEMES))})://(?=\S)"
    rf"|(?<![\w.+=/-])(bridge):(?=[\w%])",
    re.IGNORECASE,
)


# What else people take for a way to a server: what holds that, and what is that.
WITHIN = {
    re.compile(r"^[^\S\n]*CMETHOD\s", re.MULTILINE): (
        "that is what a PT's client says of its own port: what a server's clients need "
        "stands in its SMETHOD line, or in client-options.txt"
    ),
    re.compile(r"Registered server transport"): (
        "that is a line of tor's log, which has no cert: the bridge line is in the "
        "PT's obfs4_bridgeline.txt"
    ),
    re.compile(r"^[^\S\n]*\[Interface\]", re.MULTILINE): (
        "that is a WireGuard configuration, which is another protocol"
    ),
    re.compile(r"-----BEGIN "): "that is a certificate or a key, and no server",
    re.compile(
        r"^\s*(?:shadowsocks\s*=|[^=\n]*=\s*(?:ss|shadowsocks)\s*,)", re.IGNORECASE
    ): (
        "that is a line of Surge's, Loon's or Quantumult X's: let the program share "
        "the server as an ss:// link"
    ),
    re.compile(r"^\s*(?:ss:/?(?!/)|ss//|shadowsocks:/*)\S", re.IGNORECASE): (
        "that is no shadowsocks link, which begins with ss://: was it copied whole?"
    ),
    re.compile(r"^\[\[(?:client|server)\]\]", re.MULTILINE): (
        "that is a file for 'pt-bridge run': its 'remote' is the server, and what else "
        "a table of it says are the plugin options"
    ),
}
ALONE = {
    re.compile(r"\$?[0-9A-Fa-f]{40}"): (
        "that is a fingerprint alone: give the whole bridge line"
    ),
    re.compile(r"[A-Za-z0-9+/]{70}"): (
        "that looks like the value of cert= alone: give the whole line"
    ),
    re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}"): (
        "that is an address alone: give it behind --remote, beside the plugin options"
    ),
}


def name_of(text: str) -> str:
    """Return a sentence on what a text is, or "" where it is nothing known."""
    for pattern, sentence in WITHIN.items():
        if pattern.search(text):
            return sentence
    for pattern, sentence in ALONE.items():
        if pattern.fullmatch(text.strip()):
            return sentence
    return ""


def schemes(text: str) -> list[str]:
    """Return the schemes of the URLs in a text that are none of ours, each once."""
    found = ((match[1] or match[2]).lower() for match in URL.finditer(text))
    return list(dict.fromkeys(found))


def name(scheme: str) -> str:
    """Return what a link with that scheme is called."""
    if scheme == "bridge":
        return "a bridge: link"
    return f"{'an' if scheme in SPELT else 'a'} {scheme}:// link"
