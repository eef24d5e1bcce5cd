"""The command line of tune_vgg6: see ``python tune_vgg6.py --help``."""

import atexit
import gc
import os
import sys

# What is imported and read stays. To look for garbage in it took a tenth of a command's time.
gc.set_threshold(50_000)
atexit.register(gc.freeze)  # nor is it looked through once more when Python ends: a second
# Python leaves the script's folder out where it is told to (-P, -I, PYTHONSAFEPATH).
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from cli.main import main  # noqa: E402 (both must come first)

if __name__ == "__main__":
    sys.exit(main())
