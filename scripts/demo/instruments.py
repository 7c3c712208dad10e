"""Instruments and renderings of albums, drawn independently of the music."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Program:
    """A General MIDI program, numbered from 0. Its name is the album's artist, its family a descriptor."""

    number: int
    name: str
    family: str


@dataclass(frozen=True)
class Rendering:
    """How an album is rendered.

    Attributes
    ----------
    tempo, register : str
        Keys of `TEMPI` and `REGISTERS`.
    reverb_s : float
        Reverberation time (RT60) in seconds; 0 for none.
    suffix : {".ogg", ".flac"}
        Vorbis or 16-bit FLAC.
    """

    program: Program
    tempo: str
    register: str
    reverb_s: float
    channels: int
    suffix: str


TEMPI: Mapping[str, float] = {"slow": 54.0, "moderate": 84.0, "fast": 126.0}
"""Tempo descriptor → beats per minute of the written metre; tracks vary by up to 5 %."""

REGISTERS: Mapping[str, float] = {"low": 41.0, "middle": 53.0, "high": 65.0}
"""Register → lowest mean MIDI pitch; each is an octave wide, so one transposition of every tune fits."""

# Excluded are programs that the soundfont plays out of tune or not at all in some register (whistle, shakuhachi, oboe),
# and those that share their samples with another (honky-tonk and bright piano).
_PROGRAMS: Mapping[str, Mapping[int, str]] = {
    "piano": {0: "Grand Piano", 2: "Electric Grand Piano", 4: "Electric Piano", 5: "Chorused Electric Piano"},
    "organ": {16: "Drawbar Organ", 18: "Rock Organ", 19: "Church Organ", 20: "Reed Organ"},
    "guitar": {24: "Nylon-String Guitar", 25: "Steel-String Guitar", 26: "Jazz Guitar", 27: "Clean Guitar"},
    "strings": {40: "Violin", 42: "Cello", 44: "Tremolo Strings", 48: "String Ensemble"},
    "brass": {56: "Trumpet", 57: "Trombone", 60: "French Horn", 61: "Brass Section"},
    "reeds": {64: "Soprano Saxophone", 69: "English Horn", 70: "Bassoon", 71: "Clarinet"},
    "flutes": {73: "Flute", 74: "Recorder", 75: "Pan Flute", 79: "Ocarina"},
    "mallets": {10: "Music Box", 11: "Vibraphone", 12: "Marimba", 13: "Xylophone"},
    "plucked strings": {46: "Harp", 104: "Sitar", 105: "Banjo", 107: "Koto"},
    "voices": {52: "Choir", 53: "Vocal Ensemble", 85: "Solo Voice", 91: "Choir Pad"},
}

PROGRAMS: tuple[Program, ...] = tuple(
    Program(number, name, family) for family, names in _PROGRAMS.items() for number, name in names.items()
)
"""Ten families of four, so that an artist-disjoint split has held-out timbres of every family."""


def draw_renderings(count: int, seed: int) -> list[Rendering]:
    """Draw the renderings of albums; all attributes are independent, and their values as balanced as possible."""
    rng = np.random.default_rng([seed, 1])

    def draw(*values: float) -> list[float]:
        drawn: list[float] = rng.permutation(np.resize(values, count)).tolist()
        return drawn

    families = {family: [p for p in PROGRAMS if p.family == family] for family in _PROGRAMS}
    rounds: list[Program] = []
    for turn in range(4):
        order = rng.permutation(len(families))
        rounds += [list(families.values())[index][turn] for index in order]
    programs = [rounds[index % len(rounds)] for index in range(count)]
    tempi, registers = list(TEMPI), list(REGISTERS)
    return [
        Rendering(
            program=program,
            tempo=tempi[int(tempo)],
            register=registers[int(register)],
            reverb_s=reverb_s,
            channels=int(channels),
            suffix=(".ogg", ".flac")[int(flac)],
        )
        for program, tempo, register, reverb_s, channels, flac in zip(
            programs,
            draw(0, 1, 2),
            draw(0, 1, 2),
            draw(0.0, 0.4, 0.9),
            draw(1, 1, 2),
            draw(0, 0, 0, 1),
            strict=True,
        )
    ]
