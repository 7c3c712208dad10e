"""Commands that search a collection, draw a map of it, and find duplicates."""
