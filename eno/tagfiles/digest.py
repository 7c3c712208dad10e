"""What tells whether the audio in a file is still the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import av

from eno.errors import AudioError


def audio_digest(path: Path) -> str:
    """Hash of the audio in a file as it is coded there, without decoding it; tags have no part in it.

    Raises
    ------
    AudioError
        There is no audio that FFmpeg finds.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file, av.open(file, "r", metadata_errors="replace") as container:
            for stream in container.streams.audio:
                digest.update(_set_up(stream.codec_context))
            packets = 0
            for packet in container.demux(container.streams.audio):
                if packet.size:
                    packets += 1
                    digest.update(packet)
    except (av.FFmpegError, OSError) as error:
        raise AudioError(path, f"its audio cannot be checked ({error}); nothing is written") from error
    if not packets:
        raise AudioError(path, "holds no audio; nothing is written")
    return digest.hexdigest()


def _set_up(codec: Any) -> bytes:
    """What a decoder must know beforehand; Vorbis keeps its tags between two parts of that."""
    extra = bytes(codec.extradata or b"")
    if codec.name != "vorbis" or extra[:1] != b"\x02":
        return extra if codec.name == "vorbis" else b""
    lengths, at = [], 1
    for _ in range(2):
        length = 0
        while extra[at] == 0xFF:
            length, at = length + 0xFF, at + 1
        lengths.append(length + extra[at])
        at += 1
    return extra[at : at + lengths[0]] + extra[at + sum(lengths) :]
