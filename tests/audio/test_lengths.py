"""Files whose header does not state what they hold: streams, joined files, damage, changes of format."""

import io
import logging

import av
import numpy as np
import pytest
import soundfile
from mutagen.mp3 import MPEGFrame

from eno.audio import audio_file
from eno.audio.ffmpeg import PyAVDecoder
from eno.audio.libsndfile import SoundFileDecoder
from eno.audio.reading import decode, probe, read_windows
from eno.audio.stated_lengths import TOLERANCE_S, FLACFrame, length_is_certain
from eno.audio.windows import WindowPolicy
from eno.errors import AudioError
from tests.audio_files import KINDS, SOUNDFILE, music, write

RATE = 44_100


def tone(frequency, duration_s=4.0, rate=RATE, channels=2):
    wave = 0.4 * np.sin(2 * np.pi * frequency * np.arange(round(duration_s * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def pitch(samples, rate=16_000):
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate / len(samples)


def joined(folder, kind, *parts):
    """Write parts (samples, rate) one after the other into one file."""
    paths = [write(folder, kind, samples, rate) for samples, rate in [parts[0]]]
    content = paths[0].read_bytes()
    for samples, rate in parts[1:]:
        content += write(folder, kind, samples, rate).read_bytes()
    paths[0].write_bytes(content)
    return paths[0]


def set_flac_count(path, count):
    content = bytearray(path.read_bytes())
    packed = int.from_bytes(content[18:26], "big")
    content[18:26] = (packed >> 36 << 36 | count).to_bytes(8, "big")
    path.write_bytes(content)


class TestStatedLengths:
    @pytest.mark.parametrize("kind", [kind for kind in SOUNDFILE if kind in KINDS])
    def test_ordinary_files_are_not_measured(self, tmp_path, kind, monkeypatch):
        rate = 48_000 if kind == "opus" else RATE
        path = write(tmp_path, kind, music(9, rate), rate)
        monkeypatch.setattr(PyAVDecoder, "__init__", None)
        assert probe(path, listen=False).duration_s == pytest.approx(9, abs=0.1)

    def test_mp3_of_variable_bit_rate_without_xing_header(self, tmp_path):
        path = tmp_path / "vbr.mp3"
        samples = np.concatenate([music(4, RATE), tone(440, 8)])  # its first frames are larger than the mean
        options = {"subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE", "compression_level": 0.3}
        with soundfile.SoundFile(path, "w", RATE, 2, **options) as file:
            file.write(samples)
        content = path.read_bytes()
        file = io.BytesIO(content)
        MPEGFrame(file)  # ends up after the frame of the Xing header
        path.write_bytes(content[file.tell() :])
        assert SoundFileDecoder(path).frames < 10 * RATE  # what libsndfile expects, and will not read beyond
        assert probe(path).duration_s == pytest.approx(12, abs=0.1)
        assert pitch(decode(path, sample_rate=16_000)[-32_000:-16_000]) == pytest.approx(440, abs=2)

    @pytest.mark.parametrize("frames", [0, 2**36 - 1, 2 * RATE])
    def test_flac_with_an_unknown_or_too_small_number_of_samples(self, tmp_path, frames):
        path = write(tmp_path, "flac", music(5, RATE), RATE)
        whole = decode(path, sample_rate=16_000)
        set_flac_count(path, frames)
        assert probe(path).duration_s == 5
        np.testing.assert_allclose(decode(path, sample_rate=16_000), whole, atol=1e-6)

    def test_flac_that_promises_too_much_is_truncated(self, tmp_path):
        path = write(tmp_path, "flac", music(5, RATE), RATE)
        set_flac_count(path, 7 * RATE)
        with pytest.raises(AudioError, match=r"only 5\.00 s of the 7\.00 s"):
            decode(path, sample_rate=16_000)
        set_flac_count(path, 5 * RATE + 1000)
        assert len(decode(path, sample_rate=RATE)) == 5 * RATE + 1000

    @pytest.mark.parametrize("kept", [0, 2 * RATE * 4])
    def test_wav_whose_header_was_not_completed(self, tmp_path, kept, caplog):
        path = write(tmp_path, "wav-16", music(5, RATE), RATE)
        whole = decode(path, sample_rate=16_000)
        content = bytearray(path.read_bytes())
        content[40:44] = kept.to_bytes(4, "little")
        path.write_bytes(content)
        np.testing.assert_allclose(decode(path, sample_rate=16_000), whole, atol=1e-6)
        assert "5 s can be decoded and are used" in caplog.text

    def test_chunks_after_the_audio_of_a_wav_file_are_no_audio(self, tmp_path):
        path = write(tmp_path, "wav-16", music(1, RATE), RATE)
        path.write_bytes(path.read_bytes() + b"LIST" + (6000).to_bytes(4, "little") + b"x" * 6000)
        assert length_is_certain(path, "WAV", RATE)
        assert probe(path).frames == RATE

    def test_sound_that_ends_before_the_picture(self, tmp_path):
        path = tmp_path / "video.mkv"
        with av.open(str(path), "w") as container:
            sound = container.add_stream("flac", rate=RATE)
            video = container.add_stream("mpeg4", rate=5)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            frame = av.AudioFrame.from_ndarray(
                (tone(440, 2, channels=1).T * 32767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = RATE, 0
            sound.layout = "mono"
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
            for _ in range(25):
                container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(video.encode(None))
        assert probe(path).duration_s == pytest.approx(2, abs=0.11)


class TestJoinedFiles:
    @pytest.mark.parametrize("kind", ["mp3", "mp3-without-xing", "flac", "ogg", "aac"])
    @pytest.mark.parametrize(("rate", "channels"), [(RATE, 2), (32_000, 2), (RATE, 1)])
    def test_all_parts_are_decoded_at_their_speed(self, tmp_path, kind, rate, channels):
        path = joined(tmp_path, kind, (tone(440), RATE), (tone(1000, 6, rate, channels), rate))
        whole = decode(path, sample_rate=16_000)
        assert probe(path).duration_s == pytest.approx(10, abs=0.3)
        assert pitch(whole[16_000:48_000]) == pytest.approx(440, abs=1)
        assert pitch(whole[-64_000:-32_000]) == pytest.approx(1000, abs=1)
        assert np.std(whole[-64_000:-32_000]) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)
        span = decode(path, sample_rate=16_000, start=90_000, samples=32_000)
        np.testing.assert_allclose(span, whole[90_000:122_000], atol=1e-6)

    @pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "opus"])
    def test_a_file_joined_to_itself(self, tmp_path, kind):
        rate = 48_000 if kind == "opus" else RATE
        path = write(tmp_path, kind, music(5, rate), rate)
        path.write_bytes(2 * path.read_bytes())
        assert probe(path).duration_s == pytest.approx(10, abs=0.1)

    def test_an_id3_tag_between_the_parts(self, tmp_path):
        path = write(tmp_path, "mp3", music(5, RATE), RATE)
        tag = b"ID3\x04\0\0\0\0\x27\x10" + b"\0" * (0x27 * 128 + 0x10)
        path.write_bytes(path.read_bytes() + tag + path.read_bytes())
        assert probe(path).duration_s == pytest.approx(10, abs=0.1)


class TestDamage:
    def test_a_flac_frame_that_disappears_is_silent_and_moves_nothing(self, tmp_path, caplog):
        path = write(tmp_path, "flac", music(6, RATE), RATE)
        whole = decode(path, sample_rate=RATE)
        content = bytearray(path.read_bytes())
        half = len(content) // 2
        at = next(at for at in range(half, len(content)) if FLACFrame.parse(bytes(content[at : at + 16])))
        content[at : at + 64] = b"\xa5" * 64
        path.write_bytes(content)
        read = decode(path, sample_rate=RATE)
        assert len(read) == len(whole)
        changed = np.flatnonzero(abs(read - whole) > 1e-6)
        assert 0 < np.ptp(changed) < 0.3 * RATE
        assert "replaced by silence" in caplog.text

    @pytest.mark.parametrize("kind", ["mp3", "flac", "wav-16", "ogg", "opus"])
    @pytest.mark.parametrize("missing_s", [0.4, 3.0])
    def test_a_missing_end_is_forgiven_up_to_the_tolerance(self, tmp_path, kind, missing_s):
        rate = 48_000 if kind == "opus" else RATE
        path = write(tmp_path, kind, music(8, rate), rate)
        content = path.read_bytes()
        path.write_bytes(content[: round(len(content) * (1 - missing_s / 8))])
        if missing_s < TOLERANCE_S or kind in ("ogg", "opus"):  # whose last page states their length
            assert len(decode(path, sample_rate=16_000)) > (8 - missing_s - 1.1) * 16_000
        else:
            with pytest.raises(AudioError, match="truncated"):
                decode(path, sample_rate=16_000)

    @pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "m4a"])
    def test_64_bytes_of_damage_do_not_refuse_a_file(self, tmp_path, kind):
        path = write(tmp_path, kind, music(6, RATE), RATE)
        whole, content = decode(path, sample_rate=16_000), bytearray(path.read_bytes())
        content[len(content) // 3 : len(content) // 3 + 64] = b"\xa5" * 64
        path.write_bytes(content)
        assert len(decode(path, sample_rate=16_000)) == len(whole)

    def test_a_promise_of_a_few_samples_more_is_kept_in_silence(self, tmp_path, caplog):
        path = tmp_path / "ac3.mp4"
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("ac3", rate=RATE)
            stream.layout = "stereo"
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(440, 3).T), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        info = probe(path)
        assert len(decode(path, sample_rate=RATE)) == info.frames
        assert not caplog.records


class TestCost:
    @pytest.mark.parametrize("kind", ["webm", "wavpack", "aac", "wma"])
    def test_overlapping_windows_decode_a_file_once(self, tmp_path, kind, monkeypatch):
        rate = 48_000 if kind == "webm" else RATE
        path = write(tmp_path, kind, music(8, rate), rate)
        passes, original = [], PyAVDecoder._decode_from
        monkeypatch.setattr(PyAVDecoder, "_decode_from", lambda self, start: passes.append(1) or original(self, start))
        windows = read_windows(path, sample_rate=16_000, window_samples=32_000, policy=WindowPolicy(hop_s=0.5))
        assert len(windows.samples) > 10
        assert len(passes) == 2  # one measures the length

    def test_a_long_span_is_decoded_in_pieces(self, tmp_path, monkeypatch):
        path = write(tmp_path, "wav-16", music(20, 8000), 8000)
        whole = decode(path, sample_rate=6000)
        longest, original = [], SoundFileDecoder.read

        def read(self, start, frames, **options):
            longest.append(frames)
            return original(self, start, frames, **options)

        monkeypatch.setattr(audio_file, "_PIECE_S", 2)
        monkeypatch.setattr(SoundFileDecoder, "read", read)
        np.testing.assert_allclose(decode(path, sample_rate=6000), whole, atol=1e-6)
        assert max(longest) < 3 * 8000


class TestDownmix:
    def test_half_in_antiphase(self, tmp_path):
        left = music(8, RATE, 1)[:, 0]
        right = np.where(np.arange(len(left)) < len(left) // 2, left, -left)
        soundfile.write(tmp_path / "half.flac", np.stack([left, right], axis=1) * 0.5, RATE, subtype="PCM_24")
        whole = decode(tmp_path / "half.flac", sample_rate=16_000)
        assert np.std(whole[-48_000:]) == pytest.approx(np.std(whole[:48_000]), rel=0.3)
        for start in (0, 12_345, 50_001, 63_000, len(whole) - 32_000):
            span = decode(tmp_path / "half.flac", sample_rate=16_000, start=start, samples=32_000)
            np.testing.assert_allclose(span, whole[start : start + 32_000], atol=1e-6)
        assert probe(tmp_path / "half.flac").downmix == "loudest channel"


class TestOtherStreamsAndTags:
    @pytest.mark.parametrize(
        "tag", [b"ID3\3\0\0\0\0\0\x40" + bytes(64), b"APETAGEX" + bytes(80) + b"TAG" + bytes(125)], ids=["ID3", "APE"]
    )
    def test_tags_after_the_audio_of_wavpack(self, tmp_path, tag):
        path = write(tmp_path, "wavpack", music(3, RATE), RATE)
        path.write_bytes(path.read_bytes() + tag)
        assert probe(path).duration_s == pytest.approx(3, abs=0.001)

    @pytest.mark.parametrize(("kept", "read"), [(0.95, True), (0.6, False)])
    def test_a_cut_wavpack_file_is_read_up_to_the_tolerance(self, tmp_path, kept, read):
        path = write(tmp_path, "wavpack", music(9, RATE), RATE)
        path.write_bytes(path.read_bytes()[: round(path.stat().st_size * kept)])
        if read:
            assert 7.95 <= probe(path).duration_s < 9
        else:
            with pytest.raises(AudioError, match="truncated"):
                probe(path)

    def test_a_span_long_after_the_end_is_not_silence(self, tmp_path):
        path = write(tmp_path, "flac", music(12, RATE), RATE)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(AudioError, match="truncated"):
            decode(path, sample_rate=RATE, start=round(11.5 * RATE), samples=RATE // 4)

    def test_eight_channels(self, tmp_path):
        path, samples = tmp_path / "surround.m4a", tone(440, 2, channels=8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("alac", rate=RATE, layout="7.1", format="s16p")
            stream.layout = "7.1(wide)"
            for start in range(0, len(samples), 4096):
                block = np.ascontiguousarray((samples[start : start + 4096] * 2**15).astype(np.int16).reshape(1, -1))
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="7.1(wide)")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        decoded = decode(path, sample_rate=RATE)
        assert np.allclose(decoded, samples[:, 0], atol=1e-3)

    def test_a_second_wavpack_file_is_not_ignored(self, tmp_path):
        with pytest.raises(AudioError, match="damaged"):
            probe(joined(tmp_path, "wavpack", (music(3, RATE), RATE), (music(3, RATE), RATE)))

    def test_the_duration_of_matroska_is_that_of_its_longest_stream(self, tmp_path):
        path = tmp_path / "two.mka"
        with av.open(str(path), "w") as container:
            streams = [(container.add_stream("flac", rate=RATE, layout="stereo"), length) for length in (3, 9)]
            for stream, length in streams:
                samples = (tone(440, length).T * 2**15).astype(np.int16).T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="stereo")
                frame.sample_rate, frame.pts = RATE, 0
                container.mux([*stream.encode(frame), *stream.encode(None)])
        assert probe(path).duration_s == pytest.approx(3, abs=0.001)

    def test_matroska_that_does_not_start_at_zero(self, tmp_path):
        source, path = write(tmp_path, "ogg", music(4, RATE), RATE), tmp_path / "late.mka"
        copy_packets(source, path, shift=5 * RATE)
        assert probe(path).duration_s == pytest.approx(4, abs=0.05)

    def test_vorbis_cut_without_encoding(self, tmp_path):
        source, path = write(tmp_path, "ogg", music(9, RATE), RATE), tmp_path / "cut.ogg"
        copy_packets(source, path, after=3 * RATE, shift=-round(3.3 * RATE))
        whole = decode(path, sample_rate=RATE)
        for start in (RATE, 3 * RATE, 5 * RATE):
            assert np.array_equal(
                decode(path, sample_rate=RATE, start=start, samples=RATE), whole[start : start + RATE]
            )


def copy_packets(source, path, *, shift, after=-np.inf):
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(read.streams.audio[0])
        for packet in read.demux():
            if packet.size and packet.pts > after:
                packet.pts = packet.dts = packet.pts + shift
                packet.stream = stream
                container.mux(packet)


def test_warnings_are_not_repeated_per_window(tmp_path, caplog):
    path = write(tmp_path, "flac", music(5, RATE), RATE)
    set_flac_count(path, round(5.5 * RATE))
    with caplog.at_level(logging.WARNING):
        read_windows(path, sample_rate=16_000, window_samples=16_000, policy=WindowPolicy(hop_s=0.25))
    assert len(caplog.records) == 1
