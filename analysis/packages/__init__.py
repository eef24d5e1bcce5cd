"""A network as a folder that stands alone: written, verified, evaluated, compressed."""
