"""The prompt library: a database of its own, in which versions are written once and labels move."""
