"""A page that shows what a packed network answers, in a browser."""
