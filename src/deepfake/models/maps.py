"""What the map head of a frame network finds, on a grid: 4 m (1 - m) and m of a fake's soft mask m."""

MAPS = ("border", "forged")
