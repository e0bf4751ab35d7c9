"""Prepared sets: songs trimmed and cut once, for many runs of `test`."""
