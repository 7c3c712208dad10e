"""Hashes of encoded audio, which are equal for copies of a file with different tags."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from eno.audio.workers.heartbeat import note_progress
from eno.errors import AudioError


def packet_hash(path: Path, *, everything: bool = False) -> str:
    """Return the SHA-256 of the encoded audio of a file, regardless of tags and pictures.

    Nothing is decoded, so a new encoding of the same audio has another hash. With `everything`, the codebooks of Vorbis
    and any further audio streams are included, to check that nothing but tags has changed.
    """
    import av  # takes 0.1 s and 30 MB that only this needs

    digest = hashlib.sha256()
    try:
        with path.open("rb") as file, av.open(file, "r", metadata_errors="replace") as container:
            streams = container.streams.audio if everything else container.streams.audio[:1]
            for stream in streams:
                # The same bytes at another sample rate are different audio.
                if (coding := stream.codec_context) is not None:
                    digest.update(f"{coding.name} {coding.sample_rate} {coding.channels}\n".encode())
                    digest.update(_codebooks(coding) if everything else b"")
            packets = 0
            for packet in container.demux(streams) if streams else ():  # demux() means all streams
                note_progress()
                packets += packet.size > 0
                digest.update(bytes(packet))
    except (av.FFmpegError, OSError) as error:
        raise AudioError(path, f"cannot be hashed ({error.strerror})") from error
    if not packets:
        raise AudioError(path, "cannot be hashed: it contains no audio")
    return digest.hexdigest()


def _codebooks(coding: Any) -> bytes:
    """Return the headers of Vorbis without the comments between them; nothing for other codecs."""
    extra = bytes(coding.extradata or b"") if coding.name == "vorbis" else b""
    if extra[:1] != b"\x02":
        return extra
    lengths, at = [], 1
    for _ in range(2):
        length = 0
        while extra[at] == 0xFF:
            length, at = length + 0xFF, at + 1
        lengths.append(length + extra[at])
        at += 1
    return extra[at : at + lengths[0]] + extra[at + sum(lengths) :]
