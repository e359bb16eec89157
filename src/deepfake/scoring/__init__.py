"""Networks over crops and tracks: logits out."""
