"""Data sets: found, loaded, split."""

from vgg6.data.layouts import LabelledImages
from vgg6.data.sources import Source, TrialData, image_facts, load_source, split

__all__ = ["LabelledImages", "Source", "TrialData", "image_facts", "load_source", "split"]
