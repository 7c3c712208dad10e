"""Gradient-boosted trees, one set for each label."""
