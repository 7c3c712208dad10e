"""Tags for others: the code that a serving system runs."""
