"""A confirmation: the best of a search over fresh seeds, and the winner among them."""
