"""Search for tracks that sound alike, by nearest neighbours in a space of embeddings."""
