"""Prediction: from audio files to tags, and tags as lines for other programs."""
