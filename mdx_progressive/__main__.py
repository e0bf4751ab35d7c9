"""`python -m mdx_progressive`."""

import sys

from mdx_progressive.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
