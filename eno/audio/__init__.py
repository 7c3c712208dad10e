"""Audio files: probing, decoding, and cutting them into windows."""
