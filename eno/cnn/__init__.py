"""The baseline: a small CNN that is trained from scratch on log-mel spectrograms."""
