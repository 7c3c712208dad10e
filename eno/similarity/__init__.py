"""What sounds like what: search by nearest neighbours, duplicates, and a map of a collection."""
