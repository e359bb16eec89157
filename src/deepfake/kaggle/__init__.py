"""The offline bundle for Kaggle, and what runs there."""
