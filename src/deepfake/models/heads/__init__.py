"""Networks over tracks, one file each; `base` says what they have in common."""
