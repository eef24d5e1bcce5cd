"""How good what a search finds is, and whether its replays tell the truth."""
