"""A run as a Ray Tune trial, and the search around it."""
