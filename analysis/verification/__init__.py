"""Whether a package gives its recorded numbers again."""
