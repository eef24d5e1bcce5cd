"""A search's trials and epochs as tables."""
