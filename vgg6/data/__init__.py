"""Data sets: found, loaded, split, and found again."""

from vgg6.data.facts import data_facts, image_facts, load_recorded, other_classes
from vgg6.data.images import Array, LabelledImages, Source, TrialData
from vgg6.data.reading import Reading
from vgg6.data.sources import NAMES, find_cifar10, load_digits, load_folder, load_source
from vgg6.data.splits import SPLIT_SEED, split
from vgg6.run_record import CompleteFacts, DataFacts, ImageFacts

__all__ = [
    "NAMES",
    "SPLIT_SEED",
    "Array",
    "CompleteFacts",
    "DataFacts",
    "ImageFacts",
    "LabelledImages",
    "Reading",
    "Source",
    "TrialData",
    "data_facts",
    "find_cifar10",
    "image_facts",
    "load_digits",
    "load_folder",
    "load_recorded",
    "load_source",
    "other_classes",
    "split",
]
