"""Where songs with stems come from: one kind of data set a file."""
