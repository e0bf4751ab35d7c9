"""The command line: `mdx-progressive` and its subcommands.

It may import every other room; no other room imports it.
"""
