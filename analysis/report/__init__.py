"""The report of a search: one HTML page, pictures and a summary."""
