"""The instruments of the demo corpus are in tune, distinct, and in the right register."""

import numpy as np

from scripts.demo.instruments import PROGRAMS, REGISTERS
from scripts.demo.performance import Performance
from scripts.demo.plan import PITCHES
from scripts.demo.render import SAMPLE_RATE, synthesise


def _tones(*pitches, length_s=0.5):
    notes = [[number * length_s, length_s, pitch, 90] for number, pitch in enumerate(pitches)]
    return Performance(np.array(notes, dtype=np.float64), bpm=84.0, onsets_per_s=1 / length_s, polyphony=0.0)


def test_every_program_plays_in_tune(soundfont):
    # symusic ignores the root keys of most zones of the soundfont; without the correction these fail.
    for program in PROGRAMS:
        for pitch in (48, 60, 72, PITCHES[1]):
            audio = synthesise(_tones(pitch, length_s=0.6), program.number, soundfont)[2000:22000]
            power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 1 << 17)) ** 2
            hz = np.fft.rfftfreq(1 << 17, 1 / SAMPLE_RATE)
            # Organs and bars also sound an octave or two lower, and bars out of the harmonic series.
            lowest = 440 * 2 ** ((pitch - 69) / 12) / (4 if program.family in ("organ", "mallets") else 1)
            multiple = np.maximum(np.round(hz / lowest), 1)
            near = (np.abs(hz - multiple * lowest) < 0.012 * multiple * lowest + 3) & (hz < 10_000)
            whole = power[hz < 10_000].sum()
            assert power[near].sum() > 0.6 * whole, (program.name, pitch)
            if program.family not in ("organ", "mallets"):  # without odd partials it would sound an octave up
                assert power[near & (multiple % 2 == 1)].sum() > 0.05 * whole, (program.name, pitch)


def test_no_two_programs_sound_the_same(soundfont):
    sounds = [synthesise(_tones(50, 62, 74), program.number, soundfont)[:60_000] for program in PROGRAMS]
    alike = np.abs(np.corrcoef([np.pad(sound, (0, 60_000 - len(sound))) for sound in sounds]))
    assert (alike - np.eye(len(PROGRAMS))).max() < 0.9


def test_a_higher_register_sounds_higher(soundfont):
    def pitch_centre(audio):
        power = np.abs(np.fft.rfft(audio)) ** 2
        hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
        return np.exp((power[1:] * np.log(hz[1:])).sum() / power.sum())

    for program in PROGRAMS:
        melody = np.array([0, 2, 4, 5, 7])
        low, high = (
            pitch_centre(synthesise(_tones(*(melody + REGISTERS[register])), program.number, soundfont))
            for register in ("low", "high")
        )
        assert low < high, program.name
