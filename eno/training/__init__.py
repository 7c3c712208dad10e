"""Fitting heads."""
