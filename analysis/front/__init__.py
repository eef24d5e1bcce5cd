"""The front of scores against size: confirmed, and with what `compress` makes of it."""
