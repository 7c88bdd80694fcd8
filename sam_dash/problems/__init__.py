"""Data sets, networks, label noise: what is trained on what."""
