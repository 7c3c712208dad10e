"""The map of a collection: every track is a point, close to similar tracks."""
