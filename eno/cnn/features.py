"""Log-mel spectrograms, the input of the CNN.

K. Choi, G. Fazekas and M. Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, find them
better than other inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from torch.nn.functional import pad
from torchaudio.transforms import MelSpectrogram

from eno.audio.audio_file import open_audio
from eno.audio.silence import has_sound, require_sound
from eno.audio.workers.heartbeat import note_progress
from eno.errors import ConfigError
from eno.files import Section

FFT_SAMPLES, HOP_SAMPLES = 2048, 512
"""Frame length and hop: 128 and 32 ms at 16 kHz."""

LOG_OFFSET = 1e-9
"""Added to the power, so that the logarithm of silence is finite."""

_Block: TypeAlias = tuple[int, torch.Tensor]  # number of the first frame, and features [shape=(..., n_mels, n)]
_FRAMES_AT_ONCE = 4096  # their spectrum takes 50 MB


class AudioFeatureExtractor:
    """Compute log-mel spectrograms of audio at `sample_rate` Hz.

    Centred frames of 2048 samples with a hop of 512; power spectrum; triangular filters on HTK's mel scale without
    normalisation, as by default in torchaudio; ``log(x + 1e-9)``.

    Examples
    --------
    >>> AudioFeatureExtractor(n_mels=64).from_waveform(np.zeros(16_000)).shape
    torch.Size([1, 64, 32])
    """

    def __init__(self, sample_rate: int = 16_000, n_mels: int = 128) -> None:
        if not 4_000 <= sample_rate <= 192_000:
            raise ConfigError(f"sample_rate is {sample_rate}; expected 4,000 to 192,000 Hz.")
        if not 8 <= n_mels <= 256:
            raise ConfigError(f"n_mels is {n_mels}; expected 8 to 256 mel bands.")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.mel_transform = MelSpectrogram(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=FFT_SAMPLES, hop_length=HOP_SAMPLES, center=False
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All parameters that affect the values; only features with equal settings are comparable."""
        return {
            "sample_rate": self.sample_rate,
            "n_mels": self.n_mels,
            "n_fft": FFT_SAMPLES,
            "hop_length": HOP_SAMPLES,
            "log_offset": LOG_OFFSET,
        }

    def extract(self, audio_path: Path | str) -> torch.Tensor:
        """Decode and resample a file, and compute its features [shape=(1, n_mels, frames), dtype=float32].

        Besides the result, this takes the memory of a few minutes of audio, however long the file is. Raises AudioError
        if the file cannot be read or is silent.
        """
        with self._opened(audio_path) as (frames, blocks):
            return _joined(frames, blocks)[None]

    def extract_to(self, audio_path: Path | str, file: BinaryIO, section: Section | None = None) -> None:
        """Write what `extract` returns, for a file or a section of it, as a NumPy file.

        This is done block by block, so that memory does not grow with its length. If an AudioError is raised, what was
        written is incomplete.
        """
        with self._opened(audio_path, section) as (frames, blocks):
            header = {"descr": "<f4", "fortran_order": False, "shape": (1, self.n_mels, frames)}
            np.lib.format.write_array_header_1_0(file, header)
            start = file.tell()
            for first, block in blocks:
                for band, values in enumerate(block.numpy().astype("<f4", copy=False)):
                    file.seek(start + 4 * (band * frames + first))
                    file.write(values.tobytes())

    @contextmanager
    def _opened(self, audio_path: Path | str, section: Section | None = None) -> Iterator[tuple[int, Iterator[_Block]]]:
        """Open a file; yield the number of its frames and its features in blocks [shape=(n_mels, n)]."""
        heard: list[bool] = []

        def decoded(begin: int, end: int) -> torch.Tensor:
            samples = audio.span(self.sample_rate, begin, end - begin)
            heard.append(has_sound(samples, self.sample_rate))
            note_progress()
            return torch.from_numpy(samples)

        with open_audio(Path(audio_path), section=section) as audio:
            total = audio.samples(self.sample_rate)
            yield frames_in(total), self._from_spans(total, decoded)
        require_sound(audio_path, heard)

    def from_waveform(self, samples: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Compute the features of mono audio [shape=(..., n)] at `sample_rate`.

        n must be above 1024, because half a frame is mirrored at each end. Returns features [shape=(..., n_mels,
        frames), dtype=float32]; for a single waveform [shape=(n,)] they have the shape (1, n_mels, frames).
        """
        waveform = torch.as_tensor(samples, dtype=torch.float32)
        waveform = waveform[None] if waveform.ndim == 1 else waveform
        if waveform.shape[-1] <= FFT_SAMPLES // 2:
            raise ValueError(f"samples have the shape {tuple(waveform.shape)}; expected more than {FFT_SAMPLES // 2}.")
        total = waveform.shape[-1]
        return _joined(frames_in(total), self._from_spans(total, lambda begin, end: waveform[..., begin:end]))

    def _from_spans(self, total: int, span: Callable[[int, int], torch.Tensor]) -> Iterator[_Block]:
        """Compute the features of audio of which `span` returns parts [shape=(..., end - begin)]."""
        frames, half = frames_in(total), FFT_SAMPLES // 2
        for first in range(0, frames, _FRAMES_AT_ONCE):
            last = min(first + _FRAMES_AT_ONCE, frames) - 1
            begin, end = first * HOP_SAMPLES - half, last * HOP_SAMPLES + half
            mirrored = max(0, -begin), max(0, end - total)
            # One sample more than is mirrored is needed.
            from_, to = max(0, min(begin, total - mirrored[1] - 1)), min(total, max(end, mirrored[0] + 1))
            part = span(from_, to)
            centred = pad(part.reshape(1, -1, part.shape[-1]), mirrored, mode="reflect").reshape(*part.shape[:-1], -1)
            centred = centred[..., max(0, begin - from_) :][..., : end - begin]
            yield first, torch.log(self.mel_transform(centred) + LOG_OFFSET)

    def to(self, device: torch.device) -> AudioFeatureExtractor:
        """Run on this device from now on."""
        self.mel_transform.to(device)
        return self


def _joined(frames: int, blocks: Iterator[_Block]) -> torch.Tensor:
    features = None
    for first, block in blocks:
        if features is None:
            features = block.new_empty((*block.shape[:-1], frames))
        features[..., first : first + block.shape[-1]] = block
    assert features is not None
    return features


def frames_in(samples: int) -> int:
    """Return the number of frames of audio with this number of samples."""
    return 1 + samples // HOP_SAMPLES
