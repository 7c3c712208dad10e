"""What an album is played on, and how: chosen without looking at the music."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Program:
    """One General MIDI program; its name is the name of the ensemble that plays the album.

    Attributes
    ----------
    number : int
        From 0, as in a program change.
    name : str
    family : str
        The album's descriptor.
    """

    number: int
    name: str
    family: str


@dataclass(frozen=True)
class Rendering:
    """How one album sounds.

    Attributes
    ----------
    program : Program
    tempo : str
        A key of `TEMPI`.
    register : str
        A key of `REGISTERS`.
    reverb_s : float
        Time in which the room's echo fades by 60 dB; 0 for none.
    channels : int
        1 or 2.
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
"""Tempo descriptor → beats a minute, in the beat of the written metre; a track differs by up to 5 %."""

REGISTERS: Mapping[str, float] = {"low": 41.0, "middle": 53.0, "high": 65.0}
"""Register → lowest mean MIDI pitch; each is an octave wide, so every tune fits in one transposition."""

# Left out are programs that the soundfont plays out of tune or not at all in some register (whistle,
# shakuhachi, oboe), and those for which it uses the samples of another (honky-tonk and bright piano).
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
"""Ten families of four, so that a split by artist can hold out timbres of every family."""


def draw_renderings(count: int, seed: int) -> list[Rendering]:
    """Draw how albums sound, every choice independent of the others and of the music.

    Parameters
    ----------
    count : int
        Number of albums.
    seed : int

    Returns
    -------
    list of Rendering
        Families, programs, tempi and registers are used equally often, as far as the count allows.
    """
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
