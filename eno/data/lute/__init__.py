"""Albums collected by Lute, imported from any of its formats."""

from eno.data.lute.albums import read_albums as read_albums
from eno.data.lute.importing import ImportReport as ImportReport
from eno.data.lute.importing import import_lute as import_lute
