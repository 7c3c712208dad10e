import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from eno.audio.audio_file import open_audio
from eno.audio.ffmpeg import PyAVDecoder
from eno.audio.reading import decode, probe, read_windows
from eno.audio.windows import WindowPolicy
from eno.errors import AudioError, ConfigError
from tests.audio_files import KINDS, music, write

RATE, DURATION_S = 44_100, 9.0


def rate_of(kind: str) -> int:
    return 48_000 if kind in ("opus", "webm") else RATE


@pytest.fixture(scope="module", params=KINDS)
def file(request, tmp_path_factory) -> Path:
    rate = rate_of(request.param)
    return write(tmp_path_factory.mktemp("audio"), request.param, music(DURATION_S, rate), rate)


class TestDecode:
    @pytest.mark.parametrize("target", [16_000, 48_000])
    def test_span_equals_cut_of_full_decode(self, file, target):
        whole = decode(file, sample_rate=target)
        for start in (0, 1, 12_345, 3 * target + 7, len(whole) - target):
            span = decode(file, sample_rate=target, start=start, samples=target)
            np.testing.assert_allclose(span, whole[start : start + target], atol=1e-6)

    @pytest.mark.parametrize("window_samples", [4_000, 32_000])
    def test_windows_equal_cuts_of_full_decode(self, file, window_samples):
        whole = decode(file, sample_rate=16_000)
        policy = WindowPolicy(count=11)
        windows = read_windows(file, sample_rate=16_000, window_samples=window_samples, policy=policy)
        for start_s, samples in zip(windows.starts_s, windows.samples, strict=True):
            start = round(start_s * 16_000)
            np.testing.assert_allclose(samples, whole[start : start + window_samples], atol=1e-6)
        assert round(windows.starts_s[-1] * 16_000) + window_samples == len(whole)

    def test_content_is_the_mean_of_what_was_written(self, file):
        rate = rate_of(file.stem)
        written = music(DURATION_S, rate).mean(axis=1)
        read = decode(file, sample_rate=rate)
        lags = np.arange(-4000, 12_001)
        lag = int(lags[np.correlate(read[:24_000], written[4000:12_000], "valid").argmax()])
        if file.suffix not in (".aac", ".wma"):  # which do not tell how long their encoder's delay is
            assert lag == (1105 if "without-xing" in file.stem else 0)
        read, written = read[max(lag, 0) :], written[max(-lag, 0) :]
        common = min(len(written), len(read))
        assert common > 0.98 * DURATION_S * rate
        error = read[:common] - written[:common]
        assert np.square(error).mean() < 0.2 * np.square(written).mean()

    def test_same_twice(self, file):
        first, second = (decode(file, sample_rate=16_000, start=40_000, samples=16_000) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    @pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_056, 96_000, 192_000])
    def test_resampled_sine_is_the_sine(self, tmp_path, rate):
        frequency = 440.0
        wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(3 * rate) / rate)
        soundfile.write(tmp_path / "sine.wav", wave, rate, subtype="DOUBLE")
        for start in (8000, 20_011):
            span = decode(tmp_path / "sine.wav", sample_rate=16_000, start=start, samples=8000)
            expected = 0.5 * np.sin(2 * np.pi * frequency * np.arange(start, start + 8000) / 16_000)
            np.testing.assert_allclose(span, expected, atol=2e-4)

    @pytest.mark.parametrize("channels", range(1, 9))
    def test_downmix_is_the_mean(self, tmp_path, channels):
        samples = music(2, 16_000, channels)
        soundfile.write(tmp_path / "many.wav", samples, 16_000, subtype="FLOAT")
        read = decode(tmp_path / "many.wav", sample_rate=16_000)
        np.testing.assert_allclose(read, samples.mean(axis=1), atol=1e-6)
        assert probe(tmp_path / "many.wav").downmix == "mean"

    def test_aac_with_noise_substitution_depends_on_the_span_alone(self, tmp_path, monkeypatch):
        # Decoders draw the noise at random: eno starts each read with a fresh decoder, so that the same
        # span is the same whatever was read before it.
        monkeypatch.setitem(__import__("tests.audio_files").audio_files.FFMPEG, "m4a", (".m4a", "aac", {}))
        path = write(tmp_path, "m4a", music(DURATION_S, RATE), RATE)
        alone = decode(path, sample_rate=RATE, start=5 * RATE, samples=RATE)
        policy = WindowPolicy(hop_s=5)
        windows = read_windows(path, sample_rate=RATE, window_samples=RATE, policy=policy)
        np.testing.assert_array_equal(windows.samples[1], alone)


class TestDownmix:
    def test_cancelling_channels_fall_back_to_one(self, tmp_path):
        left = music(3, 16_000, 1)
        soundfile.write(tmp_path / "anti.wav", np.hstack([left, -left]), 16_000, subtype="FLOAT")
        np.testing.assert_allclose(decode(tmp_path / "anti.wav", sample_rate=16_000), left[:, 0], atol=1e-6)
        assert probe(tmp_path / "anti.wav").downmix == "loudest channel"

    def test_one_silent_channel_is_no_cancellation(self, tmp_path):
        left = music(3, 16_000, 1)
        soundfile.write(tmp_path / "left.wav", np.hstack([left, 0 * left]), 16_000, subtype="FLOAT")
        np.testing.assert_allclose(decode(tmp_path / "left.wav", sample_rate=16_000), left[:, 0] / 2, atol=1e-6)
        assert probe(tmp_path / "left.wav").downmix == "mean"

    def test_silence_stays_silence(self, tmp_path):
        soundfile.write(tmp_path / "silence.wav", np.zeros((32_000, 2)), 16_000)
        assert not decode(tmp_path / "silence.wav", sample_rate=16_000).any()


class TestWindowPolicy:
    @given(
        samples=st.integers(1, 10_000), window=st.integers(1, 3000), count=st.integers(1, 40), hop=st.integers(1, 2000)
    )
    def test_windows_lie_inside_and_reach_the_end(self, samples, window, count, hop):
        for policy in (WindowPolicy(count=max(count, 2)), WindowPolicy(hop_s=float(hop))):
            starts = policy.starts(samples, window, 1)
            assert starts[0] == 0
            assert starts[-1] == max(0, samples - window)
            assert (np.diff(starts) > 0).all()

    def test_spread_is_even(self):
        assert WindowPolicy(count=5).starts(1100, 100, 1).tolist() == [0, 250, 500, 750, 1000]

    def test_single_window_is_in_the_middle(self):
        assert WindowPolicy(count=1).starts(1100, 100, 1).tolist() == [500]

    @pytest.mark.parametrize("options", [{"count": 0}, {"hop_s": 0.0}, {"hop_s": -1.0}, {"hop_s": float("nan")}])
    def test_impossible_policies_are_refused(self, options):
        with pytest.raises(ConfigError, match=next(iter(options))):
            WindowPolicy(**options)

    def test_short_track_is_repeated(self, tmp_path):
        samples = music(0.7, 16_000, 1)[:, 0]
        soundfile.write(tmp_path / "short.wav", samples, 16_000, subtype="FLOAT")
        windows = read_windows(tmp_path / "short.wav", sample_rate=16_000, window_samples=32_000, policy=WindowPolicy())
        assert windows.samples.shape == (1, 32_000)
        np.testing.assert_array_equal(windows.samples[0], np.resize(samples, 32_000))


def cut_off(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


class TestBadInput:
    @pytest.mark.parametrize("kind", ["wav-16", "aiff", "flac", "mp3", "m4a", "wavpack", "webm"])
    def test_truncated(self, tmp_path, kind):
        path = write(tmp_path, kind, music(5, rate_of(kind)), rate_of(kind))
        cut_off(path, 0.6)
        with pytest.raises(AudioError, match=r"truncated|damaged|cannot be decoded") as caught:
            decode(path, sample_rate=16_000)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("kind", ["ogg", "opus", "aac", "wma"])
    def test_where_no_header_promises_a_length_what_is_there_is_the_whole(self, tmp_path, kind):
        rate = rate_of(kind)
        path = write(tmp_path, kind, music(5, rate), rate)
        cut_off(path, 0.6)
        assert 1.5 < probe(path).duration_s < 4

    @pytest.mark.parametrize("kind", ["m4a", "aac", "wavpack"])
    def test_a_lost_packet_is_silent_and_moves_nothing(self, tmp_path, kind):
        path = write(tmp_path, kind, music(6, RATE), RATE)
        whole = decode(path, sample_rate=RATE)
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
        victim = packets[len(packets) // 2]
        content = bytearray(path.read_bytes())
        # Keep the first bytes, by which raw AAC and WavPack find their packets.
        content[victim.pos + 32 : victim.pos + victim.size] = b"\xff" * (victim.size - 32)
        path.write_bytes(content)
        read = decode(path, sample_rate=RATE)
        assert len(read) == len(whole)
        damaged = np.flatnonzero(abs(read - whole) > 1e-6)
        assert 0 < np.ptp(damaged) < RATE  # before and after it is all there, at its place

    def test_much_damage_is_refused(self, tmp_path):
        path = write(tmp_path, "m4a", music(6, RATE), RATE)
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
        content = bytearray(path.read_bytes())
        for packet in packets[20:-20]:
            content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
        path.write_bytes(content)
        with pytest.raises(AudioError, match="is damaged"):
            decode(path, sample_rate=16_000)

    def test_mp3_without_length_is_read_to_its_end(self, tmp_path):
        path = write(tmp_path, "mp3-without-xing", music(5, RATE), RATE)
        whole = probe(path).frames
        assert 5 * RATE <= whole < 5 * RATE + 4 * 1152  # libsndfile alone says two frames too many
        cut_off(path, 0.5)
        assert probe(path).frames == pytest.approx(whole / 2, abs=4 * 1152)

    def test_streamed_wav_of_unknown_size_is_read(self, tmp_path):
        path = write(tmp_path, "wav-16", music(2, RATE), RATE)
        content = bytearray(path.read_bytes())
        content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
        path.write_bytes(content)
        assert probe(path).duration_s == pytest.approx(2, abs=0.01)

    def test_empty(self, tmp_path):
        (tmp_path / "empty.flac").touch()
        with pytest.raises(AudioError, match=r"empty\.flac: is empty \(0 bytes\)"):
            probe(tmp_path / "empty.flac")

    @pytest.mark.parametrize(("samples", "message"), [(0, "no audio at all"), (1, r"\(1 sample\)"), (1600, "0.1 s")])
    def test_too_little_to_hear(self, tmp_path, samples, message):
        soundfile.write(tmp_path / "short.wav", np.ones(samples), 16_000)
        with pytest.raises(AudioError, match=message):
            probe(tmp_path / "short.wav")

    def test_text_named_mp3(self, tmp_path, capfd):
        (tmp_path / "text.mp3").write_text("not music\n" * 1000)
        with pytest.raises(AudioError, match="not audio that can be decoded"):
            probe(tmp_path / "text.mp3")
        assert capfd.readouterr().err == ""  # the C libraries keep quiet, too

    @pytest.mark.parametrize(("kind", "wrong"), [("flac", "mp3"), ("mp3", "wav"), ("m4a", "flac"), ("ogg", "m4a")])
    def test_wrong_extension_does_not_matter(self, tmp_path, kind, wrong):
        path = write(tmp_path, kind, music(2, RATE), RATE)
        renamed = path.rename(tmp_path / f"renamed.{wrong}")
        assert probe(renamed).duration_s == pytest.approx(2, abs=0.05)

    def test_folder_named_like_audio(self, tmp_path):
        (tmp_path / "folder.mp3").mkdir()
        with pytest.raises(AudioError, match="is a folder"):
            probe(tmp_path / "folder.mp3")

    def test_dangling_link(self, tmp_path):
        (tmp_path / "link.flac").symlink_to("gone.flac")
        with pytest.raises(AudioError, match=r"is a link to gone\.flac"):
            probe(tmp_path / "link.flac")

    def test_missing(self, tmp_path):
        with pytest.raises(AudioError, match="no such file"):
            probe(tmp_path / "missing.wav")

    def test_unreadable(self, tmp_path):
        path = write(tmp_path, "wav-16", music(1, RATE), RATE)
        path.chmod(0)
        root = os.geteuid() == 0
        if root:  # who may read everything: go on as nobody
            for folder in [tmp_path, *tmp_path.parents][:4]:
                folder.chmod(0o755)
            os.seteuid(65534)
        try:
            with pytest.raises(AudioError, match="change its permissions"):
                probe(path)
        finally:
            if root:
                os.seteuid(0)

    @pytest.mark.parametrize(
        "name", ["naïve – ☃ 音楽.flac", "[brackets] & 'quotes'.flac", b"\xff\xfe latin.flac", "-x.flac"]
    )
    def test_odd_names(self, tmp_path, name):
        source = write(tmp_path, "flac", music(1, RATE), RATE)
        path = tmp_path / os.fsdecode(name)
        shutil.copy(source, path)
        assert probe(path).duration_s == pytest.approx(1)
        path.write_bytes(b"")
        with pytest.raises(AudioError) as caught:
            probe(path)
        str(caught.value).encode()  # can be printed

    def test_video_without_sound(self, tmp_path):
        path = tmp_path / "silent.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(stream.encode(None))
        with pytest.raises(AudioError, match="holds no audio stream"):
            probe(path)

    def test_nan_is_zeroed_with_a_warning(self, tmp_path, caplog):
        samples = music(2, 16_000, 1)[:, 0]
        samples[1000:1010], samples[2000] = np.nan, np.inf
        soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
        read = decode(tmp_path / "nan.wav", sample_rate=16_000)
        np.testing.assert_array_equal(read, np.where(np.isfinite(samples), samples, 0))
        assert "nan.wav: 11 NaN or infinite samples" in caplog.text

    def test_only_nan_is_refused(self, tmp_path):
        soundfile.write(tmp_path / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
        with pytest.raises(AudioError, match="only NaN"):
            decode(tmp_path / "nan.wav", sample_rate=16_000)


class TestFilesOfStrangers:
    @pytest.mark.parametrize("kind", ["flac", "opus", "mp3", "mp3-without-xing", "m4a", "aac", "webm"])
    def test_a_file_longer_than_allowed_is_not_decoded_to_its_end(self, kind, tmp_path, monkeypatch):
        path = write(tmp_path, kind, music(DURATION_S, rate_of(kind)), rate_of(kind))
        with open_audio(path, max_duration_s=DURATION_S + 0.5) as audio:
            assert audio.duration_s == pytest.approx(DURATION_S, abs=0.2)
        decoded = []
        original = PyAVDecoder._decode_from

        def counted(self, start):
            for block in original(self, start):
                decoded.append(len(block))
                yield block

        monkeypatch.setattr(PyAVDecoder, "_decode_from", counted)
        with pytest.raises(AudioError, match=r"longer than the 0\.05 minutes"), open_audio(path, max_duration_s=3.0):
            pass
        assert sum(decoded) < 3.2 * rate_of(kind)

    @pytest.mark.parametrize(
        "text", ["#EXTM3U\n#EXTINF:9,\nsong.flac\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile song.flac\n"]
    )
    def test_a_playlist_does_not_open_what_it_names(self, text, tmp_path):
        write(tmp_path, "flac", music(2.0, RATE), RATE).rename(tmp_path / "song.flac")
        for name in ("list.m3u8", "list.txt", "list.mp3"):
            (tmp_path / name).write_text(text)
            with pytest.raises(AudioError, match="is not audio"):
                probe(tmp_path / name)
