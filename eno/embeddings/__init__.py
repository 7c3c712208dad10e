"""Embeddings on disk, and the job that computes them."""
