"""The plan of the demo corpus: no tune twice, correct labels, renderings drawn independently of the music."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from scripts.demo.catalogue import STYLES
from scripts.demo.instruments import PROGRAMS, TEMPI, draw_renderings
from scripts.demo.plan import plan_albums
from scripts.demo.render import SAMPLE_RATE, synthesise

FULL = pytest.param(600, marks=pytest.mark.full_size)


@pytest.fixture(scope="module", params=[150, FULL])
def plan(request):
    """Albums of a corpus of some tracks; the demo's default is 600."""
    albums, _ = plan_albums(request.param, duration_s=30.0, seed=3)
    return albums


def _tags(row):
    return [*row["primary_genres"], *row["secondary_genres"], *row["descriptors"]]


def _onsets_per_s(audio):
    """Count rises of the energy."""
    hop = SAMPLE_RATE // 50
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    energy = np.sqrt((frames**2).mean(axis=1))
    rise = np.diff(np.log(0.02 * energy.max() + energy))
    peaks = (rise[1:-1] > 0.1) & (rise[1:-1] >= rise[:-2]) & (rise[1:-1] > rise[2:])
    return peaks.sum() / (len(audio) / SAMPLE_RATE)


def test_no_tune_is_used_twice(plan):
    tunes = [tune for album in plan for tune in album.tunes]
    assert len(tunes) == len({tune.id for tune in tunes})
    assert len({" ".join(tune.title.lower().split()) for tune in tunes}) == len(tunes)
    openings = []
    for album in plan:
        if "monophonic" in album.descriptors:
            for performance in album.performances:
                notes = performance.notes[:17]
                intervals = np.diff(notes[:, 2]).astype(int).tolist()
                ratios = np.round(np.log2(notes[1:, 1] / notes[:-1, 1])).astype(int).tolist()
                openings.append((tuple(intervals), tuple(ratios)))
    assert len(openings) == len(set(openings))
    assert len({intervals for intervals, _ in openings}) == len(openings)


def test_labels_are_correct_for_every_track(plan):
    for album in plan:
        tags = set(album.descriptors)
        for tune, performance in zip(album.tunes, album.performances, strict=True):
            notes = performance.notes
            assert (tune.style.primary, tune.style.secondary) == (
                album.tunes[0].style.primary,
                album.tunes[0].style.secondary,
            )
            assert f"{tune.metre} metre" in tags
            assert (tune.mode is None) == (not tags & {"major key", "minor key"})
            assert performance.bpm == pytest.approx(TEMPI[album.rendering.tempo], rel=0.05)
            mean = (notes[:, 2] * notes[:, 1]).sum() / notes[:, 1].sum()
            assert (mean < 53) == ("low register" in tags)
            assert (mean >= 65) == ("high register" in tags)
            onsets = 1 + (np.diff(np.sort(notes[:, 0])) > 0.03).sum()
            assert "dense" not in tags or onsets / 30 > 4.5
            assert "sparse" not in tags or onsets / 30 < 2.1
            sounding = [
                ((notes[:, 0] <= time) & (notes[:, 0] + notes[:, 1] > time)).sum() for time in np.arange(0, 30, 0.25)
            ]
            if "polyphonic" in tags:
                assert np.mean(np.array(sounding) > 1) > 0.35
            else:
                assert np.mean(np.array(sounding) > 1) < 0.05


@pytest.mark.parametrize("plan", [FULL], indirect=True)
def test_every_tag_has_enough_albums_and_artists_to_split(plan):
    artists = defaultdict(list)
    for album in plan:
        row = album.row(30.0)
        assert len(set(_tags(row))) == len(_tags(row))
        for tag in _tags(row):
            artists[tag].append(row["artists"][0]["name"])
    assert 35 <= len(artists) <= 60
    assert {tag: names for tag, names in artists.items() if len(set(names)) < 3} == {}
    programs = defaultdict(set)
    for album in plan:
        programs[album.rendering.program.family].add(album.rendering.program.name)
    assert len(programs) == 10
    assert all(len(names) >= 3 for names in programs.values())
    assert max(Counter(a.rendering.program.family for a in plan).values()) == 10


def test_renderings_are_independent_of_the_music(plan):
    drawn = draw_renderings(len(plan), seed=3)
    assert [album.rendering for album in plan] == drawn

    def information(genres, sounds):
        joint, one, other = Counter(zip(genres, sounds, strict=True)), Counter(genres), Counter(sounds)
        total = len(genres)
        return sum(
            n / total * math.log2(n * total / (one[genre] * other[sound])) for (genre, sound), n in joint.items()
        )

    rng = np.random.default_rng(0)
    genres = [album.tunes[0].style.primary[0] for album in plan]
    for attribute in ("tempo", "register", "suffix", "channels"):
        sounds = [getattr(album.rendering, attribute) for album in plan]
        by_chance = [information(genres, list(rng.permutation(sounds))) for _ in range(200)]
        assert information(genres, [str(s) for s in sounds]) < np.quantile(by_chance, 0.99), attribute
    families = [album.rendering.program.family for album in plan]
    by_chance = [information(genres, list(rng.permutation(families))) for _ in range(200)]
    assert information(genres, families) < np.quantile(by_chance, 0.99)


def test_rendered_onsets_are_as_frequent_as_planned(plan, soundfont):
    # Programs whose attacks are sharp and whose notes do not beat.
    sharp = [p for p in PROGRAMS if p.family == "guitar" or p.name in ("Xylophone", "Koto", "Banjo")]
    albums = [album for album in plan if album.rendering.program in sharp and "monophonic" in album.descriptors]
    assert len(albums) >= len(plan) // 12 - 1
    for album in albums:
        performance = album.performances[0]
        rendered = _onsets_per_s(synthesise(performance, album.rendering.program.number, soundfont))
        assert rendered == pytest.approx(performance.onsets_per_s, rel=0.25), album.file_name


def test_names_of_styles_are_unique():
    assert len({style.name for style in STYLES}) == len(STYLES)
