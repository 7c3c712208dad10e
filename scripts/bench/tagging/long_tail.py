"""A synthetic collection with a long tail of labels, written in chunks, so that only one of them is in memory.

Labels belong to albums, which resemble their artist's others; vectors belong to tracks, which scatter around their
album and pass through a layer of tanh, so that labels are not quite linear in them. A quarter of the labels are the
parents of the others, a third are the union of two directions ("electronic" is not one sound), and frequencies fall
from 0.3 to five albums. Of each of the two families of labels, a quarter of the training albums has none: whoever
annotated them did not look. Test albums are annotated in full, and are of other artists.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

_TRACKS, _ALBUMS = 10, 3  # of an album, of an artist
_LATENT, _HIDDEN = 64, 256
_ALBUMS_AT_ONCE = 1_000
_LABELS_A_ROW = 8  # before parents are added and families are missing
_MISSING = 0.25  # share of the albums that lack the labels of a family, for each of the two


@dataclass(frozen=True)
class _World:
    """What is the same for all tracks: how sounds become vectors and labels."""

    first: np.ndarray
    second: np.ndarray
    directions: np.ndarray
    parents: np.ndarray
    limits: np.ndarray

    @classmethod
    def of(cls, albums: int, dim: int, labels: int, random: np.random.Generator) -> _World:
        parents = np.where(np.arange(labels) % 4 == 0, -1, np.arange(labels) // 4 * 4)
        own = random.standard_normal((2, _LATENT, labels)) / np.sqrt(_LATENT)
        directions = np.where(parents < 0, own, (own[:, :, np.maximum(parents, 0)] + own) / np.sqrt(2))
        directions[1, :, np.arange(labels) % 3 > 0] = directions[0, :, np.arange(labels) % 3 > 0].copy()
        first = 1.5 * random.standard_normal((_LATENT, _HIDDEN)) / np.sqrt(_LATENT)
        second = np.geomspace(1, 0.1, _HIDDEN)[:, np.newaxis] * random.standard_normal((_HIDDEN, dim))
        sample = _scores(random.standard_normal((20_000, _LATENT)), directions, random)
        frequencies = np.geomspace(1, 5 / albums, labels)
        frequencies = random.permutation(np.clip(_LABELS_A_ROW * frequencies / frequencies.sum(), 5 / albums, 0.3))
        limits = np.array([np.quantile(sample[:, at], 1 - one) for at, one in enumerate(frequencies)])
        layers = first.astype(np.float32), (second / np.sqrt(_HIDDEN)).astype(np.float32)
        return cls(*layers, directions, parents, limits)


def _scores(albums: np.ndarray, directions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    found: np.ndarray = np.maximum(albums @ directions[0], albums @ directions[1])
    return found + 0.3 * random.standard_normal(found.shape)


def write(folder: Path, rows: int, dim: int, labels: int, *, test: int, seed: int = 0) -> None:
    """Write ``train`` and ``test``: vectors [dtype=float16], labels, artists of the rows and families of the labels."""
    random = np.random.default_rng(seed)
    world, family = _World.of(rows // _TRACKS, dim, labels, random), (np.arange(labels) >= labels // 2).astype(int)
    for name, count in (("train", rows), ("test", test)):
        X = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (count, dim))
        parts, artists = [], np.arange(count) // (_TRACKS * _ALBUMS)
        for start in range(0, count, _ALBUMS_AT_ONCE * _TRACKS * _ALBUMS):
            end = min(count, start + _ALBUMS_AT_ONCE * _TRACKS * _ALBUMS)
            sounds = _albums_of(-(-(end - start) // (_TRACKS * _ALBUMS)), random)
            Y = _scores(sounds, world.directions, random) > world.limits
            has_child = np.zeros_like(Y)
            for child in np.flatnonzero(world.parents >= 0):
                has_child[:, world.parents[child]] |= Y[:, child]
            Y |= has_child
            draw = random.random(len(Y))
            missing = np.stack([draw < _MISSING, draw > 1 - _MISSING], axis=1) & (name == "train")
            looked = ~missing[:, family]
            album = np.arange(end - start) // _TRACKS
            parts.append(sparse.csr_array((Y & looked).astype(np.float32))[album])
            for at in range(start, end, 10_000):
                piece = slice(at, min(at + 10_000, end))
                tracks = sounds[album[piece.start - start : piece.stop - start]]
                tracks = np.sqrt(0.7) * tracks + np.sqrt(0.3) * random.standard_normal(tracks.shape)
                heard = np.tanh(tracks.astype(np.float32) @ world.first) @ world.second
                X[piece] = heard + 0.1 * random.standard_normal(heard.shape, np.float32)
        X.flush()
        sparse.save_npz(folder / f"{name}_labels.npz", sparse.vstack(parts, format="csr"))
        np.savez(folder / f"{name}_rows.npz", artists=artists, family=family)


def _albums_of(artists: int, random: np.random.Generator) -> np.ndarray:
    own = np.repeat(random.standard_normal((artists, _LATENT)), _ALBUMS, axis=0)
    found: np.ndarray = (own + random.standard_normal(own.shape)) / np.sqrt(2)
    return found
