"""What is fast and how fast: each module prints a table, `python -m benchmarks.NAME`."""
