"""The map of a collection: every track is a point, similar tracks are neighbours."""
