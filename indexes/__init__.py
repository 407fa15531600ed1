"""The catalogue, and the indexes that can be rebuilt from it."""
