"""The formats that can be decoded: FFmpeg's names of their containers, and the suffixes of their files.

A container that is not listed here is not opened. That leaves out playlists, whatever they are called, because FFmpeg
would open the files or URLs that they name.
"""

from __future__ import annotations

_SUFFIXES = {
    "aac loas": "aac adts loas latm",
    "ac3 eac3": "ac3 eac3 ec3",
    "aiff": "aif aiff aifc afc",
    "amr": "amr awb",
    "ape": "ape apl mac",
    "asf": "asf wma wmv",
    "au": "au snd",
    "avi": "avi",
    "caf": "caf",
    "dsf": "dsf",
    "dts dtshd": "dts dtshd dtsma",
    "flac": "flac fla",
    "flv": "flv",
    "iff": "dff iff svx 8svx 16svx",
    "matroska webm": "mka mkv mk3d webm weba",
    "mov mp4 m4a 3gp 3g2 mj2": "m4a m4b m4p m4r m4v mp4 mov qt 3gp 3ga 3g2 mj2 f4a f4b f4v ism isma ismv psp",
    "mp3": "mp3 mp2 mp1 mpa mpga m2a",
    "mpc mpc8": "mpc mp+ mpp",
    "mpeg mpegts": "mpg mpeg vob ts m2t m2ts mts",
    "ogg": "ogg oga ogv ogx opus spx",
    "oma": "oma aa3 omg at3",
    "qcp": "qcp",
    "rm": "rm ra rmvb",
    "shn": "shn",
    "sox": "sox",
    "tak": "tak",
    "truehd": "thd truehd",
    "tta": "tta",
    "voc": "voc",
    "vqf": "vqf vqe vql",
    "w64": "w64",
    "wav": "wav wave bwf rf64 amb",
    "wsd": "wsd",
    "wv": "wv",
    "xa": "xa",
    "xwma": "xwma",
    "": "avr nist paf pvf sd2 sf sph",  # libsndfile alone; not its formats for speech research and instruments
}

FFMPEG_CONTAINERS = tuple(name for names in _SUFFIXES for name in names.split())
"""FFmpeg's names of the containers that it may open."""

AUDIO_SUFFIXES = frozenset(f".{suffix}" for suffixes in _SUFFIXES.values() for suffix in suffixes.split())
"""Suffixes, in lower case, of the files that are found as audio."""
