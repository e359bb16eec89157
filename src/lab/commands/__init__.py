"""Commands of `python -m lab`: one file each."""
