"""Text of strangers (a link's values, a file's name, another program's message) shown as it is, not run as Markdown."""

from __future__ import annotations

import re


def literal(text: object) -> str:
    """The Markdown that shows exactly this line of text: no image, link, icon, colour, formula or HTML in it."""
    return re.sub(r"([\\`*_{}\[\]<>#!|~$&]|:(?=\w|//))", r"\\\1", " ".join(str(text).split()))


def unlinked(text: str) -> str:
    """Sentences of ours with names of strangers in them: their brackets make no image and no link."""
    return re.sub(r"(?<!\\)([\[\]])", r"\\\1", text)
