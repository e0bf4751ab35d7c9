"""Data sets: where songs with stems come from, one kind a file."""
