"""What is fast, side by side with what a user would write: `python -m benchmarks`, `.profiles` and `.pages`."""
