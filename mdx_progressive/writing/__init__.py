"""The estimates of songs as files: blocks that are kept, joined, encoded and named."""
