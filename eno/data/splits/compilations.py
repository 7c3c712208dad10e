"""The groups of compilations, whose artists are only known from the tags of their tracks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from eno.data.matching.artists import credit_of_tag, is_nobody, main_artist
from eno.data.names import name_key
from eno.data.splits.stratify import SPLITS


def artists_of_tag(text: str, credited: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of the artists in a tag: those in `credited` if the tag joins several, else the whole name."""
    whole = name_key(main_artist(text))
    if not whole or is_nobody(whole):
        return ()
    joined = [] if whole in credited else [part for part in credit_of_tag(text).parts if part in credited]
    return tuple(joined) or (whole,)


def group_compilations(
    compilations: Mapping[str, Sequence[Sequence[str]]], group_of_artist: dict[str, str]
) -> dict[str, str]:
    """Return the group of each compilation, and add the artists who are only on compilations to `group_of_artist`.

    A compilation with artists of one group of credited artists belongs to that group; one with artists of several has
    no group. The others are with most of their artists, or are a group of their own. An artist who is only on
    compilations belongs to one group too, and does not connect others.

    Parameters
    ----------
    compilations : mapping of str to sequence of sequence of str
        The artists of each track, by compilation.
    group_of_artist : dict of str to str
        The groups of artists who are credited with an album.
    """
    groups, others = {}, []
    for name, tracks in compilations.items():
        found = {group_of_artist[artist] for artist in _flat(tracks) if artist in group_of_artist}
        if len(found) == 1:
            groups[name] = found.pop()
        elif not found:
            others.append(name)
    tracks_in: dict[str, Counter[str]] = defaultdict(Counter)
    for name, group in groups.items():
        for artist in _flat(compilations[name]):
            tracks_in[artist][group] += 1
    for artist, counts in tracks_in.items():
        group_of_artist.setdefault(artist, max(counts, key=lambda group: (counts[group], group)))
    # Chains of compilations must not grow into one group, of which nothing is left for the other splits.
    limit = sum(map(len, compilations.values())) / len(SPLITS)
    sizes: Counter[str] = Counter()
    for name in others:
        artists, size = _flat(compilations[name]), len(compilations[name])
        known = Counter(group_of_artist[artist] for artist in artists if artist in group_of_artist)
        new = len(artists) - known.total()
        fitting = [group for group in known if sizes[group] + size <= limit]
        most = max(fitting, key=lambda group: (known[group], group), default="")
        groups[name] = most if known[most] >= max(new, 1) else f"album/{name}"
        sizes[groups[name]] += size
        for artist in artists:
            group_of_artist.setdefault(artist, groups[name])
    return groups


def _flat(tracks: Iterable[Sequence[str]]) -> list[str]:
    return [artist for artists in tracks for artist in artists]
