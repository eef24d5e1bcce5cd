"""demo.html of a package: it takes a picture and says its class, without sending it anywhere."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

from analysis.demo.onnxruntime_web import (
    ADDRESS,
    BINARY,
    FETCH,
    FOLDER,
    INTEGRITY,
    SCRIPT,
    SERVE,
    VERSION,
)
from vgg6.common.templates import render
from vgg6.config import TrialConfig
from vgg6.onnx_export.onnx_file import INPUT, OUTPUT
from vgg6.run_record import CompleteFacts

TEMPLATES = Path(__file__).parent / "templates"
NAMED = 12  # classes that the page's first lines name


def demo_page(
    config: TrialConfig, data: CompleteFacts, onnx: bytes, accuracy: float, name: str
) -> str:
    """The text of the page.

    Args:
        onnx: the content of ``model.onnx``; the page accepts no other.
        accuracy: of the network on its validation images.
        name: the page's own file name.
    """
    js = _asset("demo.js")
    facts = {
        "classes": data.classes, "side": data.image_size, "input": INPUT, "output": OUTPUT,
        "network": sha(onnx, 256), "folder": FOLDER, "script": SCRIPT,
        "binary": BINARY, "integrity": INTEGRITY,
    }  # fmt: skip
    return render(
        TEMPLATES, "demo.html", label=config.label, data=data, accuracy=accuracy, facts=facts,
        named=NAMED, css=Markup(_asset("demo.css")), js=Markup(js), hash=sha(js.encode(), 256),
        fetch=FETCH, serve=SERVE, address=ADDRESS + name, version=VERSION,
    )  # fmt: skip


def sha(content: bytes, bits: int) -> str:
    """A digest as browsers read it: ``sha256-...``."""
    digest = hashlib.new(f"sha{bits}", content).digest()
    return f"sha{bits}-{base64.b64encode(digest).decode()}"


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
