"""The command line of tune_vgg6: see ``python tune_vgg6.py --help``."""

import os
import sys

# Python leaves the script's folder out where it is told to (-P, -I, PYTHONSAFEPATH).
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from cli.main import main

if __name__ == "__main__":
    sys.exit(main())
