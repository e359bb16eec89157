"""Benchmarks of every step beside peers."""
