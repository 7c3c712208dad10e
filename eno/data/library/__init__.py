"""The audio files of a collection: finding them, reading their tags, keeping the table of tracks."""
