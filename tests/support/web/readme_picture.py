"""README's picture: what ``best`` prints of the recorded search in docs/cifar10-48.

PYTHONPATH=tests python -m support.web.readme_picture
"""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console
from rich.text import Text
from support.paths import ROOT

from analysis.winner.ranking import summary
from analysis.winner.render_ranking import render
from vgg6.tuning.run.folder import RunFolder
from vgg6.tuning.run.search import read_search

RUN, PICTURE = "docs/cifar10-48", "docs/search.svg"
COMMAND = f"python tune_vgg6.py best {RUN}"
WIDTH, LAST = 100, "Best by activation"  # columns; the line before which the picture ends


def lines() -> list[str]:
    """What ``best`` prints, down to the ranking."""
    whole = render(summary(read_search(RunFolder(str(ROOT / RUN))), top=5))
    return [line.rstrip() for line in whole.partition(LAST)[0].rstrip().splitlines()]


def draw() -> str:
    """The picture as SVG. It names no font of another host."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {COMMAND}", style="bold"))
    for line in lines():
        bold = line.startswith(("Best on", "  val_acc 0", "Test accuracy"))
        console.print(Text(line, style="bold" if bold else ""))
    console.print()
    svg = console.export_svg(title=COMMAND, unique_id="readme")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    (ROOT / PICTURE).write_text(draw())
    print(f"written: {PICTURE}")
