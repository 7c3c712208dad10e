"""Experiment tracking with ClearML, behind one protocol."""
