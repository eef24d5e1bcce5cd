"""How fast trials, searches and commands are, and how they grow."""
