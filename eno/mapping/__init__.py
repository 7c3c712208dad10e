"""The map of a collection: every track a point, what sounds alike side by side."""
