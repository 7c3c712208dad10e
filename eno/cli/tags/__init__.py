"""Commands that predict, teach and write tags."""
