"""A run of `test` as one self-contained HTML page."""
