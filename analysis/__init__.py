"""What came of a search: the table, the winner, the package."""
