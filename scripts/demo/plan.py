"""The plan of the demo corpus: which tunes form which album.

Tunes are grouped by style, metre and mode, independently of the instruments; renderings are drawn independently of the
music (`scripts.demo.instruments`); then both are paired in order. So neither timbre nor tempo predicts the genre.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from eno.errors import ConfigError
from scripts.demo.album import Album
from scripts.demo.catalogue import STYLES, Style, Tune, list_tunes
from scripts.demo.instruments import Rendering, draw_renderings
from scripts.demo.performance import POLYPHONIC, Performance, perform
from scripts.demo.scores import Score, UnusableScore, melodic_shingles, read_score

TRACKS_PER_ALBUM = 6
MARGIN = 1.2
"""Tunes read per tune needed: some are unusable, duplicates, or of another density than the album."""

ROOM = 1.3
"""Tunes that a group must have per tune needed before it is allocated another album."""

PITCHES = (24, 93)
"""Range of MIDI pitches that every program of the soundfont plays in tune."""


@dataclass(eq=False)
class _Group:
    """Tunes of one style, metre and mode."""

    style: Style
    unread: list[Tune]
    read: dict[Tune, Score] = field(default_factory=dict)


Reading = tuple[Score | None, str]
"""A score, or None and the reason."""


def try_read(tune: Tune) -> Reading:
    """Read a score, or return the reason why it cannot be used."""
    try:
        return read_score(tune), ""
    except UnusableScore as error:
        return None, str(error)


class _Shelf:
    """Reads tunes for groups; unusable tunes and duplicates go to `skipped`, with the reason by id."""

    def __init__(self, read: Callable[[Sequence[Tune]], Iterable[Reading]]) -> None:
        self.skipped: dict[str, str] = {}
        self._read = read
        self._titles: set[str] = set()
        self._melodies: set[tuple[int, ...]] = set()

    def fill(self, wanted: Sequence[tuple[_Group, int]]) -> None:
        """Read a few more tunes of each group than needed."""
        batch: list[tuple[_Group, Tune]] = []
        for group in dict.fromkeys(group for group, _ in wanted):
            number = math.ceil(MARGIN * sum(size for other, size in wanted if other is group)) + 1
            batch += [(group, tune) for tune in group.unread[:number]]
            group.unread = group.unread[number:]
        for (group, tune), (score, reason) in zip(batch, self._read([t for _, t in batch]), strict=True):
            reason = reason or self._known(tune, score)
            if score is None or reason:
                self.skipped[tune.id] = reason
            else:
                group.read[tune] = score

    def _known(self, tune: Tune, score: Score | None) -> str:
        title = _plain_title(tune.title)
        melody = melodic_shingles(score, tune.beat_q) if score is not None else frozenset()
        if title in self._titles:
            return "a tune with this title is already used"
        if melody & self._melodies:
            return "a tune with this melody is already used"
        self._titles.add(title)
        self._melodies |= melody
        return ""


def plan_albums(
    tracks: int,
    *,
    duration_s: float,
    seed: int,
    read: Callable[[Sequence[Tune]], Iterable[Reading]] = lambda tunes: map(try_read, tunes),
) -> tuple[list[Album], dict[str, str]]:
    """Plan the albums of a corpus; no tune is used twice.

    Parameters
    ----------
    read : callable
        Reads tunes in order like `try_read`, for example in a process pool.

    Returns
    -------
    albums : list of Album
    skipped : dict of str to str
        Id of every tune that was read but cannot be used → reason.

    Raises
    ------
    ConfigError
        There are not enough tunes.
    """
    count = max(1, round(tracks / TRACKS_PER_ALBUM))
    sizes = [tracks // count + (number < tracks % count) for number in range(count)]
    groups = _groups(seed)
    slots = _allot(groups, count, max(sizes))
    renderings = draw_renderings(count, seed)
    shelf = _Shelf(read)
    chosen: dict[int, list[tuple[Tune, Performance]]] = {}
    while len(chosen) < count:
        waiting = [number for number in range(count) if number not in chosen]
        shelf.fill([(slots[number], sizes[number]) for number in waiting])
        for number in waiting:
            group = slots[number]
            album = _choose(group, sizes[number], renderings[number], duration_s, seed)
            if album:
                chosen[number] = album
                for tune, _ in album:
                    del group.read[tune]
            elif not group.unread:
                slots[number] = _substitute(group, groups, tracks)
    volumes: Counter[str] = Counter()
    albums = []
    for number in range(count):
        tunes, performances = zip(*chosen[number], strict=True)
        name: str = tunes[0].style.name
        volumes[name] += 1
        albums.append(Album(f"{name}, Vol. {volumes[name]}", tunes, performances, renderings[number]))
    return albums, shelf.skipped


def _groups(seed: int) -> list[_Group]:
    """Group the tunes by style, metre and mode in random order; a tune belongs to its first style only."""
    tunes_of: dict[tuple[str, str, str | None], list[Tune]] = {}
    seen: set[str] = set()
    for tunes in list_tunes().values():
        for tune in tunes:
            if tune.id not in seen:
                seen.add(tune.id)
                tunes_of.setdefault((tune.style.name, tune.metre, tune.mode), []).append(tune)
    groups = []
    for key, tunes in tunes_of.items():
        order = np.random.default_rng([seed, zlib.crc32(repr(key).encode())]).permutation(len(tunes))
        groups.append(_Group(tunes[0].style, [tunes[index] for index in order]))
    return groups


def _allot(groups: list[_Group], count: int, size: int) -> list[_Group]:
    """Allocate a group to each album: styles in turn by weight, and within a style its groups in turn."""
    given: Counter[_Group] = Counter()
    credit: Counter[Style] = Counter()
    slots: list[_Group] = []
    while len(slots) < count:
        room = [group for group in groups if len(group.unread) >= ROOM * size * (given[group] + 1)]
        styles = [style for style in STYLES if any(group.style == style for group in room)]
        if not styles:
            raise ConfigError(
                f"There are only enough tunes for about {len(slots) * size} tracks, not for {count * size}."
            )
        # Smooth weighted round robin: each style's turns are spread over the whole list.
        for style in styles:
            credit[style] += style.weight
        next_style = max(styles, key=lambda style: credit[style])
        credit[next_style] -= sum(style.weight for style in styles)
        candidates = [group for group in room if group.style == next_style]
        slots.append(min(candidates, key=lambda group: (given[group], -len(group.unread))))
        given[slots[-1]] += 1
    return slots


def _substitute(dry: _Group, groups: list[_Group], tracks: int) -> _Group:
    """Return a group for an album whose own has no tunes left, of the same style if possible."""
    group = max(groups, key=lambda group: (bool(group.unread) and group.style == dry.style, len(group.unread)))
    if not group.unread:
        raise ConfigError(f"There are not enough distinct tunes for {tracks} tracks. Choose fewer tracks.")
    return group


def _choose(
    group: _Group, size: int, rendering: Rendering, duration_s: float, seed: int
) -> list[tuple[Tune, Performance]]:
    """Return the next tunes of the group that suit the instrument and have the same density.

    If there are too few, return none; but if the group has no unread tunes left, densities may mix.
    """
    played = []
    for tune, score in group.read.items():
        rng = np.random.default_rng([seed, zlib.crc32(tune.id.encode())])
        performance = perform(score, beat_q=tune.beat_q, rendering=rendering, duration_s=duration_s, rng=rng)
        if _suits(tune, performance):
            played.append((tune, performance))
    densities = Counter(performance.density for _, performance in played)
    for density, number in densities.most_common(1):
        if number >= size:
            return [(tune, performance) for tune, performance in played if performance.density == density][:size]
    return played[:size] if len(played) >= size and not group.unread else []


def _suits(tune: Tune, performance: Performance) -> bool:
    """Return whether the notes are in the soundfont's range and have the texture of the album's descriptor."""
    lowest, highest = performance.notes[:, 2].min(), performance.notes[:, 2].max()
    polyphonic = performance.polyphony >= POLYPHONIC
    wanted = tune.style.source.texture == "polyphonic"
    return bool(lowest >= PITCHES[0] and highest <= PITCHES[1] and polyphonic == wanted)


def _plain_title(title: str) -> str:
    words = re.findall(r"\w+", unicodedata.normalize("NFKD", title).casefold())
    return " ".join(word for word in words if word not in ("a", "an", "the"))
