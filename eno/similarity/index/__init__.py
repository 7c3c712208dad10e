"""The nearest-neighbour index of an embedding store: a fitted space, vectors on disk, and FAISS."""
