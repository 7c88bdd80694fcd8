"""What the fast paths save, side by side with what a user would otherwise write; `python -m benchmarks`."""
