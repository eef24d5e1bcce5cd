"""What a command exits with."""

DONE = 0  # all that was asked
FAILED = 1  # anything else: a search is incomplete, a package was not reproduced
BAD_INPUT = 2
INTERRUPTED = 130  # as a shell has it: 128 + SIGINT
