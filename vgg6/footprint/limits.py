"""What a search's network may take at most.

Nothing heavy is imported here: a command that only reads records starts without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from vgg6.common.quantities import bytes_text, latency_text

PARAMETERS, SIZE, LATENCY = KINDS = "parameters", "size", "latency"


@dataclass(frozen=True)
class Limit:
    """``most``: a number of parameters, bytes as an int8 ONNX file, or seconds for one image."""

    kind: str
    most: float

    @property
    def field(self) -> str:
        """The setting that it comes from."""
        return f"max_{self.kind}"

    @property
    def words(self) -> str:
        """``at most 300,000 parameters``."""
        return f"at most {in_words(self.kind, self.most)}"


def in_words(kind: str, value: float) -> str:
    """A figure of one of ``KINDS`` with its unit: ``300,000 parameters``."""
    what = {SIZE: " as an int8 ONNX file", LATENCY: " for one image in onnxruntime"}
    return amount(kind, value) + what.get(kind, " parameters")


def amount(kind: str, value: float) -> str:
    """The same without what it is of: ``300,000``, ``500 kB``, ``2 ms``."""
    if kind == PARAMETERS:
        return f"{value:,.0f}"
    return bytes_text(value) if kind == SIZE else latency_text(value)


def all_in_words(limits: list[Limit]) -> str:
    """``at most 300,000 parameters and at most 2 ms for one image in onnxruntime``."""
    return " and ".join(limit.words for limit in limits)
