"""Finding the album of every audio file."""

from eno.data.matching.ids import read_mbids as read_mbids
from eno.data.matching.matcher import MatchReport as MatchReport
from eno.data.matching.matcher import match as match
from eno.data.matching.matcher import read_matches as read_matches
