"""README and ``docs/`` as a reader uses them: what stands there to be copied."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree

from integration.support.programs import ROOT

README = "README.rst"
DOCS = sorted(Path(ROOT).glob("docs/*.rst"))
PAGES = [README, *(str(path.relative_to(ROOT)) for path in DOCS)]
# The directives and roles that are Sphinx's alone; its own run looks at them.
SILENT = {"report_level": 5, "halt_level": 5}


def blocks(page: str, title: str) -> list[str]:
    """Return what stands in a section to be copied, one text for each block.

    Args:
        page: the file, as seen from the project's root.
        title: the section's title; sections within it are left out.
    """
    found = [text for section, text in every_block(page) if section == title]
    assert found, f"{page} has nothing to copy below {title!r}"
    return found


def every_block(page: str) -> list[tuple[str, str]]:
    """Return what stands on a page to be copied, each with its section's title."""
    text = Path(ROOT, page).read_text(encoding="utf-8")
    document = publish_doctree(text, settings_overrides=SILENT)
    return [
        (_title(block), block.astext())
        for block in document.findall(nodes.literal_block)
    ]


def _title(node: nodes.Node) -> str:
    while not isinstance(node.parent, nodes.section | nodes.document):
        node = node.parent
    (title, *_) = node.parent.findall(nodes.title)
    return title.astext()


def commands(block: str) -> list[str]:
    """Return the commands of a block, each on one line."""
    return re.sub(r"\\\n\s*", "", block).splitlines()


def replace(text: str, replacements: dict[str, str]) -> str:
    """Replace the example's values by this machine's.

    Each of them must be there: an example that has changed is looked at again.
    """
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in {text!r}"
        text = text.replace(old, new)
    return text
