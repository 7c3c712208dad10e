"""Files of the same recording: candidates by embedding, confirmed by comparing the audio. No file is changed."""
