"""Where the repository is, for tests that read its files or start its programs."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NARROW = ROOT / "tests" / "support" / "narrow.yaml"  # a search space of small networks
