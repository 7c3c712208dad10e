import av
import mutagen
import numpy as np
import pytest
from mutagen.id3 import TALB, TCON, TDOR, TDRC, TIPL, TIT2, TMCL, TPE1, TPE2, TPOS, TRCK, TXXX, UFID
from mutagen.mp4 import MP4FreeForm

from eno.data.library.tags import Tags, read_tags
from tests.audio_files import music, write

FULL = Tags(
    artist="Slowdive; Brian Eno",
    album_artist="Slowdive",
    album="Souvlaki",
    title="Sing 歌",
    track_number=3,
    disc_number=2,
    year=1993,
    genres=("Shoegaze", "Dream Pop"),
    musicbrainz_recording_id="recording",
    musicbrainz_release_id="release",
    musicbrainz_release_group_id="group",
    spotify_album_id="6Mt1",
)


def id3(file):
    if file.tags is None:
        file.add_tags()
    for frame in (
        TPE1(text=["Slowdive", "Brian Eno"]), TPE2(text=["Slowdive"]), TALB(text=[" Souvlaki "]),
        TIT2(text=["Sing 歌"]), TRCK(text=["3/10"]), TPOS(text=["2/2"]), TDRC(text=["2005-08-01"]),
        TDOR(text=["1993-05-17"]),
        TCON(text=["Shoegaze", "Dream Pop"]), UFID(owner="http://musicbrainz.org", data=b"recording"),
        TXXX(desc="MusicBrainz Album Id", text=["release"]), TXXX(desc="MusicBrainz Release Group Id", text=["group"]),
        TXXX(desc="SPOTIFY_ALBUM_URI", text=["spotify:album:6Mt1"]),
    ):  # fmt: skip
        file.tags.add(frame)


def comments(file):
    if file.tags is None:
        file.add_tags()
    file.update({
        "ARTIST": ["Slowdive", "Brian Eno"], "AlbumArtist": ["Slowdive"], "album": [" Souvlaki "], "TITLE": ["Sing 歌"],
        "TRACKNUMBER": ["3/10"], "DISCNUMBER": ["2"], "DATE": ["2005"], "ORIGINALDATE": ["1993-05-17"],
        "GENRE": ["Shoegaze", "Dream Pop", "Shoegaze", ""], "MUSICBRAINZ_TRACKID": ["recording"],
        "MUSICBRAINZ_ALBUMID": ["release"], "MUSICBRAINZ_RELEASEGROUPID": ["group"], "spotify_album_id": ["6Mt1"],
    })  # fmt: skip


def mp4(file):
    def free(text):
        return [MP4FreeForm(text.encode())]

    file.update({
        "©ART": ["Slowdive", "Brian Eno"], "aART": ["Slowdive"], "©alb": [" Souvlaki "], "©nam": ["Sing 歌"],
        "trkn": [(3, 10)], "disk": [(2, 2)], "©day": ["2005-08-01"], "©gen": ["Shoegaze", "Dream Pop"],
        "----:com.apple.iTunes:ORIGINALDATE": free("1993-05-17"),
        "----:com.apple.iTunes:MusicBrainz Track Id": free("recording"),
        "----:com.apple.iTunes:MusicBrainz Album Id": free("release"),
        "----:com.apple.iTunes:MusicBrainz Release Group Id": free("group"),
        "----:com.apple.iTunes:SPOTIFY_ALBUM_ID": free("6Mt1"),
    })  # fmt: skip


def asf(file):
    file.update({
        "Author": ["Slowdive", "Brian Eno"], "WM/AlbumArtist": ["Slowdive"], "WM/AlbumTitle": [" Souvlaki "],
        "Title": ["Sing 歌"], "WM/TrackNumber": ["3"], "WM/PartOfSet": ["2/2"], "WM/Year": ["2005"],
        "WM/OriginalReleaseYear": ["1993"], "WM/Genre": ["Shoegaze", "Dream Pop"],
        "MusicBrainz/Track Id": ["recording"], "MusicBrainz/Album Id": ["release"],
        "MusicBrainz/Release Group Id": ["group"], "spotify_album_id": ["6Mt1"],
    })  # fmt: skip


def ape(file):
    if file.tags is None:
        file.add_tags()
    for key, values in {
        "Artist": ["Slowdive", "Brian Eno"], "Album Artist": ["Slowdive"], "Album": ["Souvlaki"], "Title": ["Sing 歌"],
        "Track": ["3/10"], "Disc": ["2/2"], "Year": ["2005"], "OriginalYear": ["1993"],
        "Genre": ["Shoegaze", "Dream Pop"], "MUSICBRAINZ_TRACKID": ["recording"], "MUSICBRAINZ_ALBUMID": ["release"],
        "MUSICBRAINZ_RELEASEGROUPID": ["group"], "SPOTIFY_ALBUM_ID": ["6Mt1"],
    }.items():  # fmt: skip
        file.tags[key] = values


WRITERS = {
    "mp3": id3, "wav-16": id3, "aiff": id3, "flac": comments, "ogg": comments, "m4a": mp4, "alac": mp4, "wma": asf,
    "wavpack": ape,
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_yields_the_same_tags(kind, tmp_path):
    path = write(tmp_path, kind, music(1, 44_100), 44_100)
    assert read_tags(path).artist is None
    file = mutagen.File(path)
    WRITERS[kind](file)
    file.save()
    assert read_tags(path) == FULL


def test_numbers_of_genres_dates_without_a_year_and_empty_values(tmp_path):
    path = write(tmp_path, "mp3", music(1, 44_100), 44_100)
    file = mutagen.File(path)
    file.add_tags()
    for frame in (TCON(text=["(17)"]), TDRC(text=[""]), TPE1(text=["  "]), TRCK(text=["A1"]), TALB(text=["1984"])):
        file.tags.add(frame)
    file.save()
    assert read_tags(path) == Tags(genres=("Rock",), album="1984", track_number=1)


def test_damaged_tags_are_empty(tmp_path):
    path = write(tmp_path, "flac", music(1, 44_100), 44_100)
    content = bytearray(path.read_bytes())
    content[4:8] = b"\x04\xff\xff\xff"  # a comment block of 16 MB
    path.write_bytes(content)
    assert read_tags(path) == Tags()
    (tmp_path / "x.mp3").write_bytes(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f")
    assert read_tags(tmp_path / "x.mp3") == Tags()


def test_frames_without_text_and_absurd_numbers_are_ignored(tmp_path):
    path = write(tmp_path, "mp3", music(1, 44_100), 44_100)
    file = mutagen.File(path)
    file.add_tags()
    for frame in (
        TIPL(people=[["producer", "Somebody"]]), TMCL(people=[["guitar", "Somebody"]]), TPE1(text=["Slowdive"]),
        TRCK(text=["99999999999999999999"]), TDOR(text=[""]), TXXX(desc="originaldate", text=["unknown"]),
        TDRC(text=["19930517"]),
    ):  # fmt: skip
        file.tags.add(frame)
    file.save()
    assert read_tags(path) == Tags(artist="Slowdive", year=1993)


def test_tags_that_only_ffmpeg_finds(tmp_path):
    for name, codec in (("a.mka", "flac"), ("a.caf", "pcm_s16be"), ("a.webm", "libopus"), ("a.wav", "pcm_s16le")):
        with av.open(str(tmp_path / name), "w") as container:
            container.metadata.update(
                {"title": "Tést", "artist": "A", "album": "B", "genre": "Rock; Pop", "date": "1993"}
            )
            stream = container.add_stream(codec, rate=48_000)
            stream.layout = "mono"
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
            frame.sample_rate = 48_000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        expected = Tags(title="Tést", artist="A", album="B", genres=("Rock", "Pop"), year=1993)
        assert read_tags(tmp_path / name) == expected
