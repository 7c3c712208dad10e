"""What eno knows about the music: albums, files, matches, labels and splits."""
