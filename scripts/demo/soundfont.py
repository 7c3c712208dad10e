"""The soundfont of pretty_midi, corrected for symusic."""

from __future__ import annotations

import importlib.util
import itertools
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from eno.errors import MissingExtra

SOUNDFONT = "TimGM6mb.sf2"

# SoundFont 2.04, section 7: generators of a zone's root key and sample, and record types.
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
    """Return the path of the soundfont in the installed pretty_midi, without importing it."""
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / SOUNDFONT if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise MissingExtra("demo", "pretty_midi")
    return path


@contextmanager
def corrected_soundfont() -> Iterator[Path]:
    """Write the corrected soundfont to a temporary file."""
    source = find_soundfont()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.name
        path.write_bytes(move_root_keys(source.read_bytes()))
        yield path


def move_root_keys(data: bytes) -> bytes:
    """Move the root keys of zones in a SoundFont 2 file to the samples, where symusic reads them.

    A zone may override the root key of its sample, and most zones of this soundfont do. symusic 0.5.8 ignores that:
    middle C of the violin sounds as B flat, and of the piano as G sharp an octave higher. The returned file lists each
    sample once for every root key.
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
    rows = samples[[sample for sample, _ in listed] + [len(samples) - 1]]  # the last record marks the end
    rows["root_key"][:-1] = [root for _, root in listed]
    chunks |= {"igen": generators.tobytes(), "shdr": rows.tobytes()}
    presets = b"pdta" + b"".join(_chunk(name, chunk) for name, chunk in chunks.items())
    return _chunk("RIFF", data[8:start] + _chunk("LIST", presets))


def _preset_data(data: bytes) -> tuple[int, dict[str, bytes]]:
    """Return the position of the list of presets, which is last, and its chunks."""
    start = next(start for start, name, _ in _walk(data, 12) if data[start + 8 : start + 12] == b"pdta")
    return start, {name: data[begin + 8 : begin + 8 + size] for begin, name, size in _walk(data, start + 12)}


def _walk(data: bytes, position: int) -> Iterator[tuple[int, str, int]]:
    while position < len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        yield position, name.decode("ascii"), size
        position += 8 + size + size % 2


def _chunk(name: str, data: bytes) -> bytes:
    return name.encode("ascii") + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
