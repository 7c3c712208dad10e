"""The audio files of a collection: finding them, reading their tags, keeping the table of tracks."""

from eno.data.library.files import find_tracks as find_tracks
from eno.data.library.scanning import ScanReport as ScanReport
from eno.data.library.scanning import read_tracks as read_tracks
from eno.data.library.scanning import scan as scan
