"""One session of a search: plan, trials, callbacks."""
