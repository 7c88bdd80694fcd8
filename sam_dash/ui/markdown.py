"""Text of strangers (a link's values, a file's name, another program's message) shown as it is, not run as Markdown."""

from __future__ import annotations

import re


def literal(text: object) -> str:
    """The Markdown that shows exactly this line of text: no image, link, icon, colour, formula or HTML in it."""
    return re.sub(r"([\\`*_{}\[\]<>#!|~$&]|:(?=\w|//))", r"\\\1", " ".join(str(text).split()))
