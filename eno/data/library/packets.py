"""Hashes of encoded audio: equal for copies of a file, whatever their tags say."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from eno.errors import AudioError


def packet_hash(path: Path, *, everything: bool = False) -> str:
    """Hash the encoded audio of a file without decoding it. Tags and pictures do not count.

    Parameters
    ----------
    path : Path
        An audio file.
    everything : bool
        Also hash further audio streams and the codebooks of Vorbis, to check that nothing but tags has changed.

    Returns
    -------
    str
        SHA-256 in hexadecimal. The same music encoded again has another hash.

    Raises
    ------
    AudioError
        FFmpeg finds no audio in the file, or cannot split it into packets.
    """
    import av  # 0.1 s and 30 MB that only this needs

    digest = hashlib.sha256()
    try:
        with path.open("rb") as file, av.open(file, "r", metadata_errors="replace") as container:
            streams = container.streams.audio if everything else container.streams.audio[:1]
            for stream in streams:
                # The same bytes at another rate are another sound, or silence of another length.
                if (coding := stream.codec_context) is not None:
                    digest.update(f"{coding.name} {coding.sample_rate} {coding.channels}\n".encode())
                    digest.update(_codebooks(coding) if everything else b"")
            packets = 0
            for packet in container.demux(streams) if streams else ():  # demux() means all streams
                packets += packet.size > 0
                digest.update(bytes(packet))
    except (av.FFmpegError, OSError) as error:
        raise AudioError(path, f"cannot be hashed ({error.strerror})") from error
    if not packets:
        raise AudioError(path, "cannot be hashed: it contains no audio")
    return digest.hexdigest()


def _codebooks(coding: Any) -> bytes:
    """The set-up headers of Vorbis without the comments, which lie between them; nothing for other codecs."""
    extra = bytes(coding.extradata or b"")
    if coding.name != "vorbis" or extra[:1] != b"\x02":
        return extra if coding.name == "vorbis" else b""
    lengths, at = [], 1
    for _ in range(2):
        length = 0
        while extra[at] == 0xFF:
            length, at = length + 0xFF, at + 1
        lengths.append(length + extra[at])
        at += 1
    return extra[at : at + lengths[0]] + extra[at + sum(lengths) :]
