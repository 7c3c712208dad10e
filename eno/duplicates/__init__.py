"""The same recording in several files: found by vectors, confirmed by the audio, never touched."""
