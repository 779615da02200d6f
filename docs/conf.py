"""How Sphinx builds the documentation (``scripts/docs``)."""

from pt_bridge import __version__

project = "pt-bridge"
version = release = __version__
html_title = f"pt-bridge {__version__}"
html_theme = "alabaster"
html_theme_options = {
    "description": "Tor's Pluggable Transports as a shadowsocks plugin",
    "fixed_sidebar": True,
    "page_width": "60em",
}
html_copy_source = False
exclude_patterns = ["_build"]
nitpicky = True
