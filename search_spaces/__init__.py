"""What may vary in a search: the shipped spaces, and the loader of a user's own."""

from search_spaces.loader import SPACE_NAMES, load_space
from search_spaces.parameter import Parameter
from search_spaces.space import Space

__all__ = ["SPACE_NAMES", "Parameter", "Space", "load_space"]
