"""musicnn against results of the original TensorFlow code (``tests/golden/musicnn.npz``)."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from eno.encoders import load_encoder
from eno.encoders.musicnn.encoder import WINDOW_SAMPLES, MusiCNN, tag_labels
from eno.encoders.musicnn.network import LogMel, MusicnnNetwork
from eno.encoders.musicnn.weights import GENRES, TAGS, load_weights, read_checkpoint
from eno.errors import ConfigError, UnknownName, WeightsError

NAMES = {"mtt": "MTT_musicnn", "msd": "MSD_musicnn"}


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[2] / "golden" / "musicnn.npz") as file:
        return dict(file)


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request):
    return request.param


@pytest.fixture(scope="module")
def network(checkpoint):
    return MusicnnNetwork(load_weights(checkpoint)[0]).eval()


@pytest.fixture
def windows(golden):
    return np.stack([golden["waveform"][start : start + WINDOW_SAMPLES] for start in (0, 9_000, 33_333, 63_000)])


class TestAgainstTheOriginal:
    def test_network_from_patches(self, network, checkpoint, golden):
        with torch.inference_mode():
            output = network(torch.from_numpy(golden["patches"]))
        np.testing.assert_allclose(output.tags, golden[f"{NAMES[checkpoint]}_taggram"], atol=1e-5)
        penultimate = golden[f"{NAMES[checkpoint]}_penultimate"]
        np.testing.assert_allclose(output.penultimate, penultimate, atol=2e-5 * abs(penultimate).max())

    def test_end_to_end_with_the_original_framing(self, network, checkpoint, golden):
        # One spectrogram over the whole signal, centred frames, zeros outside, consecutive patches.
        padded = np.pad(golden["waveform"], 256)
        with torch.inference_mode():
            frames = LogMel()(torch.from_numpy(padded)[None])[0]
            patches = frames[: len(frames) // 187 * 187].reshape(-1, 187, 96)
            np.testing.assert_allclose(patches, golden["patches"], atol=1e-4)
            tags = network(patches).tags
        np.testing.assert_allclose(tags, golden[f"{NAMES[checkpoint]}_taggram"], atol=1e-3)

    def test_window_on_the_grid_has_the_original_tags(self, checkpoint, golden):
        # The second patch begins with frame 187, whose centre is sample 187 · 256.
        start = 187 * 256 - 256
        window = golden["waveform"][None, start : start + WINDOW_SAMPLES]
        tags = MusiCNN(checkpoint=checkpoint, output="tags").encode(window)[0, 0]
        order = [TAGS[checkpoint].index(tag) for tag in tag_labels(checkpoint).all_labels]
        np.testing.assert_allclose(tags, golden[f"{NAMES[checkpoint]}_taggram"][1][order], atol=1e-5)

    @pytest.mark.parametrize("frame", [0, 100])
    def test_window_on_the_grid_has_the_frames_of_the_whole_spectrogram(self, network, checkpoint, golden, frame):
        # A window that begins with the file looks at the frames from the second on: half of the first lies before.
        start = frame * 256
        window = golden["waveform"][None, start : start + WINDOW_SAMPLES]
        with torch.inference_mode():
            frames = LogMel()(torch.from_numpy(np.pad(golden["waveform"], 256))[None])
            expected = network(frames[:, frame + 1 : frame + 188]).pooled
        pooled = MusiCNN(checkpoint=checkpoint, output="pooled").encode(window)[:, 0]
        np.testing.assert_allclose(pooled, expected, atol=1e-4)


class TestEncoder:
    @pytest.mark.parametrize(("output", "dim"), [("penultimate", 200), ("pooled", 1506), ("tags", 50)])
    def test_vector_does_not_depend_on_the_batch(self, windows, output, dim):
        encoder = MusiCNN(checkpoint="msd", output=output)
        together = encoder.encode(np.concatenate([windows, windows[::-1], windows[:1]]))
        assert together.shape == (9, 1, dim)
        assert together.dtype == np.float32
        for i, window in enumerate(windows):
            alone = encoder.encode(window[None])[0]
            scale = abs(alone).max()
            for row in (i, 7 - i):
                np.testing.assert_allclose(together[row], alone, atol=1e-5 * scale)

    def test_both_is_the_concatenation(self, windows):
        both, mtt, msd = (MusiCNN(checkpoint=name).encode(windows) for name in ("both", "mtt", "msd"))
        np.testing.assert_allclose(both, np.concatenate([mtt, msd], axis=2), atol=1e-6)

    def test_silence_and_clipping_are_finite(self):
        loud = np.sign(np.sin(np.arange(WINDOW_SAMPLES) * 0.3, dtype=np.float32))
        vectors = MusiCNN(output="pooled").encode(np.stack([np.zeros_like(loud), loud, 0 * loud + 1]))
        assert np.isfinite(vectors).all()

    def test_windows_of_another_length_are_refused(self):
        with pytest.raises(ValueError, match=r"\(1, 48000\); expected \(b, 48128\)"):
            MusiCNN().encode(np.zeros((1, 48_000), np.float32))

    def test_fingerprint_depends_on_the_options(self):
        encoders = [MusiCNN(checkpoint=c, output=o) for c in ("mtt", "msd", "both") for o in ("penultimate", "tags")]
        assert len({encoder.spec.fingerprint for encoder in encoders}) == 6
        spec = encoders[0].spec
        assert load_encoder(spec.name, **spec.options).spec == spec
        assert type(spec).from_dict(spec.to_dict()).fingerprint == spec.fingerprint
        assert spec.window_s == pytest.approx(3.008)

    @pytest.mark.parametrize("options", [{"checkpoint": "vgg"}, {"output": "logits"}, {"colour": "red"}])
    def test_wrong_options_are_named(self, options):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}"):
            load_encoder("musicnn", **options)


class TestWeights:
    def test_every_tag_is_in_one_family(self, checkpoint):
        assert len(set(TAGS[checkpoint])) == 50
        assert GENRES[checkpoint] < set(TAGS[checkpoint])
        assert sorted(tag_labels(checkpoint).all_labels) == sorted(TAGS[checkpoint])

    def test_hash_is_that_of_the_published_file(self, checkpoint):
        weights, sha256 = load_weights(checkpoint)
        assert len(sha256) == len(hashlib.sha256().hexdigest())
        # 150 variables less 2 · 42 moments of Adam and its two powers
        assert len(weights) == 64
        assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in weights.values())
        assert all((weights[name] > 0).all() for name in weights if name.endswith("moving_variance"))

    def test_unknown_vocabulary(self):
        with pytest.raises(UnknownName, match="vocabulary 'rym'"):
            tag_labels("rym")

    @pytest.mark.parametrize("size", [0, 4 * 2_366_398, 4 * 2_366_399 + 2])
    def test_checkpoint_of_another_size_is_refused(self, size):
        with pytest.raises(WeightsError, match=f"{size} bytes; expected 9465596"):
            read_checkpoint(bytes(size))
