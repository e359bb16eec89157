"""Find forged faces in video: the package behind the numbered stage scripts."""

__version__ = "0.1.0"
