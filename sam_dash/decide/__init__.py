"""Should SAM be used here at all? A rule that answers from runs, with its error rates: docs/decide.md."""
