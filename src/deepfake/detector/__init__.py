"""A whole detector: its file, and how it judges a video."""
