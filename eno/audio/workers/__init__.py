"""Worker processes for reading audio files: a file that hangs or crashes a decoder fails alone."""
