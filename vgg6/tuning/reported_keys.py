"""Keys of what a trial reports to the search beside its metrics."""

WHY_INFEASIBLE = "infeasible"  # why its loss diverged, or why it does not fit into memory
DAMAGED = "damaged"  # what its attempt found damaged, a list of sentences
