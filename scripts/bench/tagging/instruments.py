"""Short phrases played by the 128 instruments of General MIDI, rendered with several soundfonts.

Every soundfont has recordings of its own, so the same instrument sounds different in each of them. The labels are the
16 families of General MIDI, how a sound is made (plucked, bowed, sung …), and how the phrase is played. The program
``fluidsynth`` renders the phrases.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import symusic

from eno.encoders import load_encoder
from scripts.bench.tagging.problems import Problem, embedded

_PROGRAMS, _FAMILIES = 128, 16
_PHRASES, _SECONDS, _RATE = 6, 6, 22_050
_REST_S = 1.2  # in which the last note of a phrase dies away
_PEAK, _SILENT = 0.7, 1e-4
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11, 12), (0, 2, 3, 5, 7, 8, 10, 12)
_TICKS_PER_S = 960
_SOUNDS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("plucked", (*range(24, 40), 45, 46, *range(104, 108))),
    ("struck", (*range(6), *range(8, 16), 47, *range(112, 119), 108)),
    ("bowed", (*range(40, 45), 48, 49, 110)),
    ("blown", (*range(56, 80), 109, 111, 22)),
    ("electronic", (*range(80, 104), 50, 51, 38, 39, 4, 5, 62, 63, 54)),
    ("sung", (52, 53, 54, 85, 91)),
    ("electric", (4, 5, *range(26, 32), *range(33, 38), 16, 17, 18)),
    ("distorted", (29, 30, 84)),
)
"""Programs of General MIDI, from 0, by how their sound is made. Further labels are low, fast, and chords."""


def of_soundfonts(folder: Path, soundfonts: Sequence[Path]) -> Iterator[tuple[str, Problem]]:
    """Yield a problem for each soundfont: tested on its sounds, trained on those of the others.

    Vectors are those of musicnn, both checkpoints.
    """
    missing = [one for one in soundfonts if not one.is_file()]  # for which fluidsynth would render silence
    if missing or len(soundfonts) < 2:
        raise SystemExit(f"no such file: {missing[0]}" if missing else "--soundfonts takes at least two soundfonts")
    labels: dict[str, np.ndarray] = {}
    for number, soundfont in enumerate(soundfonts):
        for program in range(_PROGRAMS):
            labels |= _render(folder / "audio", number, soundfont, program)
    ids, X = embedded(load_encoder("musicnn", checkpoint="both"), folder / "audio", folder / "store")
    stems = np.array([Path(one).stem for one in ids])
    Y, X = np.stack([labels[stem] for stem in stems]).astype(np.float32), X.astype(np.float32)
    groups = np.array([stem.rpartition("_")[0] for stem in stems])  # the phrases of an instrument
    sources = np.array([stem.split("_")[0] for stem in stems])
    for number, soundfont in enumerate(soundfonts):
        test = sources == str(number)
        yield soundfont.stem, Problem.divide(folder / soundfont.stem, (X, Y, groups), ~test, test)


def _render(folder: Path, number: int, soundfont: Path, program: int) -> dict[str, np.ndarray]:
    """Write the phrases of an instrument that are not there yet, and return the labels of each."""
    folder.mkdir(parents=True, exist_ok=True)
    name, score, labels = f"{number}_{program}", symusic.Score(_TICKS_PER_S // 2), {}
    score.tempos.append(symusic.Tempo(0, 120))
    track = symusic.Track(program=program)
    for phrase, (notes, played) in enumerate(_phrases(number, program)):
        for start_s, length_s, pitch, velocity in notes:
            ticks = int(start_s * _TICKS_PER_S), max(1, int(length_s * _TICKS_PER_S))
            track.notes.append(symusic.Note(*ticks, pitch, velocity))
        family = np.arange(_FAMILIES) == program // (_PROGRAMS // _FAMILIES)
        labels[f"{name}_{phrase}"] = np.array([*family, *(program in programs for _, programs in _SOUNDS), *played])
    score.tracks.append(track)
    if not (folder / f"{name}_{_PHRASES - 1}.flac").exists():
        midi, wave = folder / f"{name}.mid", folder / f"{name}.wav"
        score.dump_midi(midi)
        command = ["fluidsynth", "-ni", "-q", "-F", wave, "-r", str(_RATE), "-g", "0.6", soundfont, midi]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples = soundfile.read(wave, dtype="float32", always_2d=True)[0].mean(axis=1)
        samples = np.pad(samples, (0, max(0, _PHRASES * _SECONDS * _RATE - len(samples))))
        for phrase in range(_PHRASES):
            part = samples[phrase * _SECONDS * _RATE :][: _SECONDS * _RATE]
            peak = np.abs(part).max()
            soundfile.write(folder / f"{name}_{phrase}.flac", part * (_PEAK / peak if peak > _SILENT else 1), _RATE)
        midi.unlink()
        wave.unlink()
    return labels


def _phrases(number: int, program: int) -> Iterator[tuple[list[tuple[float, float, int, int]], np.ndarray]]:
    """Yield the notes of each phrase (onset and length in seconds, pitch, velocity), and if it is low, fast, chords."""
    random = np.random.default_rng([number, program, 7])
    for phrase in range(_PHRASES):
        low, fast, chords = played = random.random(3) < 0.5
        base = random.integers(41, 52) if low else random.integers(60, 72)
        scale = np.array(_MAJOR if random.random() < 0.5 else _MINOR)
        step, at, notes = 0.25 if fast else 1.0, 0.0, []
        while at < _SECONDS - _REST_S:
            degree = random.choice(scale)
            for interval in (0, 4 if 4 in scale else 3, 7) if chords else (0,):
                velocity = int(random.integers(60, 120))
                notes.append((phrase * _SECONDS + at, 0.9 * step, int(base + degree + interval), velocity))
            at += step * random.choice([1, 1, 2])
        yield notes, played
