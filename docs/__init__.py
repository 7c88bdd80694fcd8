"""Documentation; `python -m docs.generate` writes its tables."""
