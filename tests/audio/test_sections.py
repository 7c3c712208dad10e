"""A section of a file is decoded as if it had been cut out of it."""

import numpy as np
import pytest
import soundfile

from eno.audio.audio_file import open_audio
from eno.audio.ffmpeg import PyAVDecoder
from eno.audio.reading import decode, open_windows, read_windows
from eno.audio.track_decoding import TrackRequest, decode_track
from eno.audio.windows import WindowPolicy
from eno.errors import AudioError
from eno.files import Section
from eno.spec import EncoderSpec
from tests.audio_files import music, write

RATE = 44_100
SECTION = Section(2.5, 7.25)


def span(path, rate, section, start=0, samples=None):
    with open_audio(path, section=section) as audio:
        return audio.span(rate, start, audio.samples(rate) if samples is None else samples)


@pytest.fixture(scope="module", params=["flac", "wav-16"])
def files(request, tmp_path_factory):
    """A file, and what is in a section of it as a file of its own."""
    folder = tmp_path_factory.mktemp("sections")
    whole = write(folder, request.param, music(9, RATE), RATE)
    samples, _ = soundfile.read(whole, dtype="int32")
    cut = folder / f"cut{whole.suffix}"
    soundfile.write(cut, samples[round(2.5 * RATE) : round(7.25 * RATE)], RATE, subtype=soundfile.info(whole).subtype)
    return whole, cut


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_samples_are_those_of_the_cut_file(files, rate):
    whole, cut = files
    np.testing.assert_array_equal(span(whole, rate, SECTION), decode(cut, sample_rate=rate))
    alone = span(whole, rate, SECTION, start=12_345, samples=rate)
    np.testing.assert_array_equal(alone, decode(cut, sample_rate=rate, start=12_345, samples=rate))
    with open_audio(whole, section=SECTION) as audio:
        assert audio.duration_s == 4.75


def test_windows_and_hash_are_those_of_the_cut_file(files):
    whole, cut = files
    layout = {"sample_rate": 16_000, "window_samples": 8000, "policy": WindowPolicy(count=5)}
    expected = read_windows(cut, **layout)
    with open_windows(whole, **layout, section=SECTION) as windows:
        np.testing.assert_array_equal(np.stack(list(windows)), expected.samples)
        np.testing.assert_array_equal(windows.starts_s, expected.starts_s)
    spec = EncoderSpec(
        name="x", options={}, revision="1", weights_sha256="", sample_rate=16_000, window_samples=8000, layers=("x",),
        pooling="none", dim=1,
    )  # fmt: skip
    stamps = []
    for path, section in ((whole, SECTION), (cut, None)):
        generator = decode_track(spec, layout["policy"], TrackRequest(str(path), None, section))
        with pytest.raises(StopIteration) as end:
            while True:
                next(generator)
        stamps.append(end.value.value.stamp)
    assert stamps[0].samples_hash == stamps[1].samples_hash
    assert stamps[0][3:] == SECTION and stamps[1][3:] == (None, None)


@pytest.mark.parametrize("kind", ["mp3", "ogg", "m4a", "wavpack"])
def test_sections_of_lossy_files_and_of_those_that_ffmpeg_decodes(tmp_path, kind):
    path = write(tmp_path, kind, music(9, RATE), RATE)
    whole = decode(path, sample_rate=RATE)
    begin, end = round(2.5 * RATE), round(7.25 * RATE)
    np.testing.assert_allclose(span(path, RATE, SECTION), whole[begin:end], atol=1e-6)


def test_a_section_ends_with_its_file(files):
    whole, _ = files
    expected = decode(whole, sample_rate=RATE, start=8 * RATE)
    np.testing.assert_array_equal(span(whole, RATE, Section(8, 10)), expected)
    with (
        pytest.raises(AudioError, match=r"holds no audio at all from 20\.00 s to 30\.00 s"),
        open_audio(whole, section=Section(20, 30)),
    ):
        pass


def test_a_file_without_an_index_is_measured_once_for_all_of_its_sections(tmp_path, monkeypatch):
    measured = []
    count = PyAVDecoder._count
    monkeypatch.setattr(PyAVDecoder, "_count", lambda self, most: measured.append(most) or count(self, most))
    path = write(tmp_path, "wavpack", music(9, RATE), RATE)
    for section in (Section(0, 2), SECTION, Section(7.25, 9)):
        assert len(span(path, RATE, section)) == round((section.end_s - section.start_s) * RATE)
    assert len(measured) == 1
    write(tmp_path, "wavpack", music(5, RATE, seed=1), RATE)
    assert len(span(path, RATE, SECTION)) == 2.5 * RATE
    assert len(measured) == 2
