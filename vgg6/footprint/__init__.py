"""What a network takes: its parameters, its size as a file, and the time for one image."""
