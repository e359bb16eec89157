"""Scores against labels: metrics, intervals, tables."""
