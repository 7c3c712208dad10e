"""Evaluation of predictions: metrics, confidence intervals, diagnosis, report."""
