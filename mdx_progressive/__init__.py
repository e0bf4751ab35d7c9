"""Progressive inference for music demixing: how much better can a frozen separator get, at what cost?"""

from importlib.metadata import version

__version__ = version("mdx_progressive")
