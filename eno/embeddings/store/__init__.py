"""The embedding store: vectors with their tracks, in Parquet parts."""

from eno.embeddings.store.embedding_store import EmbeddingStore as EmbeddingStore
