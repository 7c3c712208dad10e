"""Find the track that a user means by a name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.errors import SimilarityError
from eno.files import AudioRoots, printable, visible

_LISTED = 10
_AROUND_STEM, _NUMBER = r"^.*/|\.[^./]*$", r"^[0-9][0-9.-]*[ ._-]+"


def find_track(
    name: Path | str,
    ids: Sequence[str] | np.ndarray | pa.Array,
    titles: Sequence[str | None] | pa.Array | None = None,
    *,
    audio_roots: AudioRoots | Path | str | Sequence[Path | str] | None = None,
) -> str:
    """Return the id of the track that a name stands for.

    A name is, in this order: a track id; the path of an existing file below one of `audio_roots`; the end of a track
    id, from a ``/`` on; a title; or a file name without its extension and track number. Case is ignored.

    Parameters
    ----------
    ids : sequence of str
        All track ids.
    titles : sequence of str or None, optional
        A title for each id, for instance the column ``title`` of `eno.similarity.metadata.TrackMetadata.table`.

    Raises
    ------
    SimilarityError
        No track matches, or several do; the message lists candidates.

    Examples
    --------
    >>> find_track("alison.flac", ["Slowdive/Souvlaki/Alison.flac", "Slowdive/Souvlaki/40 Days.flac"])
    'Slowdive/Souvlaki/Alison.flac'
    >>> find_track("Alison", ["Slowdive/Souvlaki/01 - Alison.flac", "Slowdive/Souvlaki/10 Dagger.flac"])
    'Slowdive/Souvlaki/01 - Alison.flac'
    """
    found = match_track(name, ids, titles, audio_roots=audio_roots)
    if found is None:
        raise unknown_track(name, ids)
    return found


def match_track(
    name: Path | str,
    ids: Sequence[str] | np.ndarray | pa.Array,
    titles: Sequence[str | None] | pa.Array | None = None,
    *,
    audio_roots: AudioRoots | Path | str | Sequence[Path | str] | None = None,
) -> str | None:
    """Return what `find_track` returns, or None if no track matches.

    An existing file that is not one of the tracks does not match, whatever its name.
    """
    ids = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
    text = printable(str(name))
    if pc.index(ids, text).as_py() >= 0:
        return text
    if os.path.isfile(name):  # unlike Path.is_file, this accepts names that are too long
        folders = () if audio_roots is None else AudioRoots.of(audio_roots).folders
        file = Path(name).resolve()
        below = [file.relative_to(root).as_posix() for root in (one.resolve() for one in folders) if _is_in(file, root)]
        return next((one for one in map(printable, below) if pc.index(ids, one).as_py() >= 0), None)
    return one_of(text, similar_names(text, ids, titles))


def one_of(name: str, found: Sequence[str]) -> str | None:
    """Return the only track that a name stands for, or None; raise a SimilarityError if there are several."""
    if len(found) > 1:
        raise SimilarityError(f"{len(found):,} tracks match {name!r}. {listed(found)}")
    return found[0] if found else None


def similar_names(
    text: str, ids: pa.Array, titles: Sequence[str | None] | pa.Array | pa.ChunkedArray | None = None
) -> list[str]:
    """Return the ids of the tracks that a name may stand for, other than as an id or a file; see `find_track`."""
    wanted = text.lower()
    paths = pc.binary_join_element_wise("/", pc.utf8_lower(ids), "")
    matching = pc.ends_with(paths, pattern="/" + wanted)
    if titles is not None and not pc.any(matching).as_py():
        titles = titles if isinstance(titles, pa.Array | pa.ChunkedArray) else pa.array(titles, pa.string())
        matching = pc.fill_null(pc.equal(pc.utf8_lower(titles), wanted), False)
    if not pc.any(matching).as_py():
        stems = pc.replace_substring_regex(paths, _AROUND_STEM, "")
        matching = pc.or_(pc.equal(stems, wanted), pc.equal(pc.replace_substring_regex(stems, _NUMBER, ""), wanted))
    found: list[str] = ids.filter(matching).to_pylist()
    return found


def listed(found: Sequence[str]) -> str:
    """Return the end of a message about several tracks, which lists the first ten."""
    names = "".join(f"\n  {visible(track_id)}" for track_id in found[:_LISTED])
    more = f"\n  and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
    return f"Specify more of the path of the one you mean:{names}{more}"


def unknown_track(name: Path | str, ids: Sequence[str] | np.ndarray | pa.Array) -> SimilarityError:
    """Return the error for a name that no track matches, with a suggestion."""
    from rapidfuzz import process

    names = ids.to_pylist() if isinstance(ids, pa.Array) else list(ids)
    text = printable(str(name))
    close = process.extractOne(text, names, score_cutoff=60)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return SimilarityError(f"No track is called {text!r}.{hint}")


def _is_in(file: Path, folder: Path) -> bool:
    return file != folder and file.is_relative_to(folder)
