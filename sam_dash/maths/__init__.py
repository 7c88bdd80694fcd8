"""Pure functions on a flat parameter vector w (d,)."""
