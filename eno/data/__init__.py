"""What eno knows about the music: audio, albums, labels, splits."""
