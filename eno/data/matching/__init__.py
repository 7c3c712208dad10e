"""Which local files belong to which album of the catalogue."""

from eno.data.matching.matcher import match as match
from eno.data.matching.matcher import read_matches as read_matches
