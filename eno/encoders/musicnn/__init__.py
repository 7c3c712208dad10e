"""musicnn: small convolutional networks for music tagging."""
