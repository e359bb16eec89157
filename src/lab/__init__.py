"""Research: measures and compares; never imported by `deepfake`, not in the wheel."""
