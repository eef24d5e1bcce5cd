"""The study's questions, answered from a search."""
