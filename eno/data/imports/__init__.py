"""Labels from other places than Lute: tags, CSV files, folders, other programs, published annotations."""

from eno.data.imports.items import Item as Item
from eno.data.imports.items import LabelImportReport as LabelImportReport
from eno.data.imports.items import read_track_labels as read_track_labels
from eno.data.imports.items import write_import as write_import
