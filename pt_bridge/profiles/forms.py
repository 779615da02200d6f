"""The four forms in which people hand each other a way to a server."""

BRIDGE, OPTIONS, LINK, JSON = FORMS = ("bridge", "options", "link", "json")
NAMES = {
    BRIDGE: "bridge line",
    OPTIONS: "string of plugin options",
    LINK: "shadowsocks link",
    JSON: "shadowsocks configuration",
}
# What shadowsocks starts, by whatever path.
PLUGIN = "pt-bridge"
