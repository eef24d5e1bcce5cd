"""Python runs this when a driver starts whose Ray is to have forked workers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
from support import forked_workers

sys.path.pop()
forked_workers.use_when_ray_is_imported()
