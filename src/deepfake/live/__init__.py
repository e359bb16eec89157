"""Streams watched as they come, within a latency budget."""
