"""Frames in, frames out: a study, its tables, and the statistics that judge and draw."""
