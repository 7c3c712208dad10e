"""Albums as Lute collects them, from every form that it writes them in."""

from eno.data.lute.albums import read_albums as read_albums
from eno.data.lute.importing import import_lute as import_lute
