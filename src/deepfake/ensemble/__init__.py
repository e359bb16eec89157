"""From logits to one calibrated probability a video; no networks here."""
