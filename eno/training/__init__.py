"""Training, evaluation and comparison of heads."""
