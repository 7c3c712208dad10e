"""Training, validation and test splits without shared artists."""

from eno.data.splits.artist_split import SplitReport as SplitReport
from eno.data.splits.artist_split import make_splits as make_splits
from eno.data.splits.artist_split import read_split as read_split
from eno.data.splits.artist_split import write_splits as write_splits
from eno.data.splits.leaks import find_leaks as find_leaks
from eno.data.splits.official import read_official_splits as read_official_splits
from eno.data.splits.stratify import SPLITS as SPLITS
