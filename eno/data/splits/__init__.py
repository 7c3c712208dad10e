"""Training, validation and test splits without shared artists."""
