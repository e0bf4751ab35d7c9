"""Progressive inference for music demixing: how much better can a frozen separator get, at what cost?

The classes that YAML and Python users name are here, and are imported when they are first asked for.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("mdx_progressive")
