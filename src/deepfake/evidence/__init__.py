"""What can be shown beside a score."""
