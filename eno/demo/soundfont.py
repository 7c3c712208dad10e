"""The soundfont that pretty_midi ships, mended for symusic."""

from __future__ import annotations

import importlib.util
import itertools
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eno.errors import MissingExtra

SOUNDFONT = "TimGM6mb.sf2"

# SoundFont 2.04, section 7: the generators that name a zone's root key and its sample, and the records.
_ROOT_KEY, _SAMPLE_ID = 58, 53
_GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<i2")])
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_SAMPLE = np.dtype(
    [
        ("name", "S20"),
        ("bounds", "<u4", 4),
        ("rate", "<u4"),
        ("root_key", "u1"),
        ("correction", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ]
)


def find_soundfont() -> Path:
    """Find the soundfont in the installed pretty_midi, without importing it.

    Raises
    ------
    MissingExtra
        pretty_midi is not installed.
    """
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / SOUNDFONT if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise MissingExtra("demo", "pretty_midi")
    return path


def mend_root_keys(data: bytes) -> bytes:
    """Move the root keys of zones to the samples, where symusic looks for them.

    A zone may override the root key of its sample, and most zones of this soundfont do; symusic 0.5.8
    ignores that, so middle C of its violin sounds as B flat and of its piano as G sharp in the octave
    above. Here each sample is listed once for every root key that it is used with.

    Parameters
    ----------
    data : bytes
        A SoundFont 2 file.

    Returns
    -------
    bytes
        The same sounds with longer lists of samples.
    """
    start, chunks = _preset_data(data)
    generators = np.frombuffer(chunks["igen"], _GENERATOR).copy()
    zones = np.frombuffer(chunks["ibag"], _BAG)["generator"]
    samples = np.frombuffer(chunks["shdr"], _SAMPLE)
    listed: dict[tuple[int, int], int] = {}
    for begin, end in itertools.pairwise(zones):
        zone = generators[begin:end]
        uses = np.flatnonzero(zone["operator"] == _SAMPLE_ID)
        if uses.size:
            sample = int(zone["amount"][uses[0]])
            roots = zone["amount"][zone["operator"] == _ROOT_KEY]
            root = int(roots[0]) if roots.size and roots[0] >= 0 else int(samples["root_key"][sample])
            zone["amount"][uses[0]] = listed.setdefault((sample, root), len(listed))
    rows = samples[[sample for sample, _ in listed] + [len(samples) - 1]]  # the last one ends the list
    rows["root_key"][:-1] = [root for _, root in listed]
    chunks |= {"igen": generators.tobytes(), "shdr": rows.tobytes()}
    presets = b"pdta" + b"".join(_chunk(name, chunk) for name, chunk in chunks.items())
    return _chunk("RIFF", data[8:start] + _chunk("LIST", presets))


def _preset_data(data: bytes) -> tuple[int, dict[str, bytes]]:
    """Find the list of presets, which comes last, and the chunks in it."""
    start = next(start for start, name, _ in _walk(data, 12) if data[start + 8 : start + 12] == b"pdta")
    return start, {name: data[begin + 8 : begin + 8 + size] for begin, name, size in _walk(data, start + 12)}


def _walk(data: bytes, position: int) -> Iterator[tuple[int, str, int]]:
    while position < len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        yield position, name.decode("ascii"), size
        position += 8 + size + size % 2


def _chunk(name: str, data: bytes) -> bytes:
    return name.encode("ascii") + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
