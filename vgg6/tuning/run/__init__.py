"""A search's folder: what is written there, and read again."""
