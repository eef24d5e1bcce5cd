"""The command line of tune_vgg6: see ``python tune_vgg6.py --help``."""

import sys

from cli.main import main

if __name__ == "__main__":
    sys.exit(main())
