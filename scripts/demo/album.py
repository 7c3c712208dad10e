"""An album of the demo corpus: its folder, its labels and its metadata."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from scripts.demo.catalogue import Tune
from scripts.demo.instruments import Rendering
from scripts.demo.performance import Performance


@dataclass(frozen=True)
class Album:
    """Tunes of the same style, metre and mode with one performance each, all rendered alike."""

    name: str
    tunes: tuple[Tune, ...]
    performances: tuple[Performance, ...]
    rendering: Rendering

    @property
    def file_name(self) -> str:
        """Lute's name of the album, which is also the folder of its audio."""
        return f"release/album/{slug(self.rendering.program.name)}/{slug(self.name)}"

    @property
    def track_files(self) -> list[str]:
        """File names of the tracks inside the album's folder."""
        words = [re.sub(r'[\\/:*?"<>|]', " ", tune.title)[:80].strip(" .").split() for tune in self.tunes]
        return [f"{n:02d} - {' '.join(title)}{self.rendering.suffix}" for n, title in enumerate(words, 1)]

    @property
    def descriptors(self) -> list[str]:
        """Descriptors that hold for every track of the album."""
        first = self.tunes[0]
        words = [f"{first.metre} metre", first.style.source.texture, self.rendering.program.family]
        words.append(self.rendering.tempo)
        if first.mode is not None:
            words.append(f"{first.mode} key")
        if self.rendering.register != "middle":
            words.append(f"{self.rendering.register} register")
        densities = {performance.density for performance in self.performances}
        if len(densities) == 1:
            words += sorted(densities & {"sparse", "dense"})
        return words

    def row(self, duration_s: float) -> dict[str, Any]:
        """Return the album in the format of Lute's JSON."""
        artist = self.rendering.program.name
        credited = list(dict.fromkeys(tune.credit for tune in self.tunes))
        return {
            "name": self.name,
            "file_name": self.file_name,
            "rating_count": 0,
            "artists": [_artist(artist)],
            "primary_genres": list(self.tunes[0].style.primary),
            "secondary_genres": list(self.tunes[0].style.secondary),
            "descriptors": self.descriptors,
            "tracks": [
                {"name": tune.title, "duration_seconds": round(duration_s), "position": str(position)}
                for position, tune in enumerate(self.tunes, 1)
            ],
            "languages": [],
            "credits": [{"artist": _artist(name), "roles": [role]} for name, role in credited],
            "duplicates": [],
        }


def slug(name: str) -> str:
    """Convert a name to the form of Lute's file names: ``"Shan'ge, Vol. 2"`` → ``"shange-vol-2"``."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.replace("'", "")).strip("-")


def _artist(name: str) -> dict[str, str]:
    return {"name": name, "file_name": f"artist/{slug(name)}"}
