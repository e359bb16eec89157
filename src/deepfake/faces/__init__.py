"""Faces: detection, tracks, crops and the shards they are kept in. Reads videos through `media`."""
