"""Labels: the vocabulary that is learned, its hierarchy, and its encoding as multi-hot vectors."""

from eno.data.labels.encoder import LabelEncoder as LabelEncoder
