"""What mattered in a search."""
