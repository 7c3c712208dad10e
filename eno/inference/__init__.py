"""Prediction: from audio files to tags, and tags in the formats of other programs."""
