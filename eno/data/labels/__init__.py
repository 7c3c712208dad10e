"""Labels: the vocabulary, its hierarchy, and multi-hot vectors."""

from eno.data.labels.encoder import LabelEncoder as LabelEncoder
from eno.data.labels.hierarchy import Hierarchy as Hierarchy
from eno.data.labels.hierarchy import load_aliases as load_aliases
from eno.data.labels.vocabulary import build_vocabulary as build_vocabulary
