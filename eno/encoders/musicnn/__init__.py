"""musicnn: small convolutional tagging networks."""
