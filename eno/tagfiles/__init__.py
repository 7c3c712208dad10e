"""Tags inside audio files: reading, planning, writing and undoing edits."""
