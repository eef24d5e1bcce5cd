"""One script for each number that the project claims."""
