"""`python -m r1lab`: the command line, see cli.py."""

import sys

from r1lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
