"""Training loops, losses and folds."""
