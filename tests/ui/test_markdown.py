"""Text of strangers is shown and not run."""

from __future__ import annotations

import pytest

from sam_dash.ui.markdown import literal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](http://a/b.png)", r"\!\[x\](http\://a/b.png)"), (":red[y]", r"\:red\[y\]"), ("a: b", "a: b"),
        (":material/delete:", r"\:material/delete:"), ("<b>$z$`", r"\<b\>\$z\$\`"), ("one\n# two", r"one \# two"),
        ("m = 5: expected 1.5, -2 (or 3)", "m = 5: expected 1.5, -2 (or 3)"),
    ],
)  # fmt: skip
def test_what_markdown_would_run_is_escaped_and_plain_text_stays(text: str, shown: str) -> None:
    assert literal(text) == shown
