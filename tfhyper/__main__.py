"""`python -m tfhyper`: the command line, see `tfhyper.cli`."""

import sys

from tfhyper.cli import main

if __name__ == "__main__":
    sys.exit(main())
