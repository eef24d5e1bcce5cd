"""VGG6 on small images: one fast, reproducible training run, and what it needs."""
