"""Bias, activation and pooling on a GPU as one Triton kernel."""
