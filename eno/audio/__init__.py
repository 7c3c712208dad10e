"""Audio files: probing, decoding, and the windows that encoders listen to."""
