"""`python -m zconnector`: the same command line as the installed `zconnector`."""

from __future__ import annotations

import sys

from zconnector.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
