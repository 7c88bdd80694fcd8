"""sam-dash: an interactive analysis dashboard for m-sharpness."""

__version__ = "0.1.0"
