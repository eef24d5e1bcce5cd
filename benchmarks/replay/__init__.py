"""Recorded learning curves, and the replay of searches on them."""
