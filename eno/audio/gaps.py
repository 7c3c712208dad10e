"""How many samples are missing before a packet."""

from __future__ import annotations

from typing import Any

from eno.audio.stated_lengths import TOLERANCE_S, FLACFrame

_JITTER_S = 0.05  # timestamps of Vorbis are off by up to half a block


class Gaps:
    """Follows the packets of a stream: FLAC numbers its frames, Ogg has exact timestamps."""

    def __init__(self, container: str, stream: Any) -> None:
        self._numbered, self._timed = container == "flac", container == "ogg"
        self._stream = stream
        self._lost = 0  # packets that could not be decoded
        self._samples = 0  # in the latest frame
        self._next: int | None = None  # number or time of the next frame
        self._step = 0  # between the numbers of frames

    def lost(self) -> None:
        """Note that a packet could not be decoded."""
        self._lost += 1

    def before(self, packet: Any, frame: Any) -> int:
        """Return how many samples are missing before a frame.

        `packet` is None for all but the first frame that was decoded from a packet: damage can merge packets.
        """
        missing, self._lost = self._lost * self._samples, 0
        header = FLACFrame.parse(bytes(packet)[:16]) if self._numbered and packet else None
        if header is not None:
            unit = 1 if header.counts_samples else self._samples
            missing = 0 if self._next is None else max(0, header.number - self._next) * unit
            self._next = header.number
            self._step = header.samples if header.counts_samples else 1
        if self._numbered and self._next is not None:
            self._next += self._step
        elif self._timed and frame.pts is not None:
            missing = self._until(frame.pts * self._stream.time_base * frame.sample_rate, frame)
        self._samples = frame.samples
        return missing

    def _until(self, time: Any, frame: Any) -> int:
        """Return the samples between the end of the previous frame and the time of this one, if they are few."""
        late = 0 if self._next is None else round(time - self._next)
        missing = late if _JITTER_S * frame.sample_rate < late <= TOLERANCE_S * frame.sample_rate else 0
        if self._next is None or abs(late) > _JITTER_S * frame.sample_rate:
            self._next = round(time)
        self._next += frame.samples
        return missing
