"""Experiment trackers that follow a search."""
