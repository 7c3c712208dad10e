"""A music collection with everything that eno has computed for it, located by its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eno.config import Settings, load_settings
from eno.data.layout import DataRoot
from eno.errors import ConfigError, SimilarityError
from eno.files import AudioRoots, Section, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from eno.audio.windows import WindowPolicy
    from eno.data.labels.encoder import LabelEncoder
    from eno.embeddings.store.embedding_store import EmbeddingStore
    from eno.encoders import Encoder
    from eno.inference.predictor import EnoPredictor
    from eno.similarity.index.index import SimilarityIndex
    from eno.similarity.sounds_like import SoundsLike
    from eno.spec import EncoderSpec
    from eno.training.collection import Collection
    from eno.training.record import HeadPlan

_MANIFEST, _PREDICTOR = "manifest.json", "predictor.json"


@dataclass(frozen=True)
class Step:
    """The state of one step of the workflow.

    Attributes
    ----------
    name : str
        A past participle: ``"scanned"``.
    changed : datetime or None
        When the step was last run; None if it never was.
    stale : bool
        Whether something that it depends on has changed since.
    detail : str
        Summary of its result, for people.
    command : str
        The command that runs it.
    """

    name: str
    changed: datetime | None
    stale: bool
    detail: str
    command: str

    @property
    def due(self) -> bool:
        """Whether the step has to be run, for the first time or again."""
        return self.changed is None or self.stale


class Library:
    """A music collection: its audio folders, metadata, embedding stores, predictor and index.

    Without settings the defaults apply; `open` reads ``eno.toml``.

    Examples
    --------
    >>> library = Library.open(audio_roots="~/Music", data_root="/srv/eno")
    >>> str(library.data.tracks)
    '/srv/eno/processed/tracks.parquet'
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    @classmethod
    def open(cls, file: Path | str | None = None, *, overrides: Iterable[str] = (), **settings: Any) -> Library:
        """Open the library that a settings file describes.

        Parameters
        ----------
        file, overrides
            See `eno.config.load_settings`; the default file is the nearest ``eno.toml``.
        **settings
            Attributes of `eno.config.Settings` that take precedence; None is ignored.
        """
        loaded = load_settings(None if file is None else Path(file), overrides)
        named = {name: value for name, value in settings.items() if value is not None}
        if "audio_roots" in named:
            folders = AudioRoots.of(named["audio_roots"]).folders
            named["audio_roots"] = tuple(folder.expanduser() for folder in folders)
        if "exclude" in named:
            named["exclude"] = tuple(named["exclude"])
        for name in ("data_root", "model", "files"):
            if name in named:
                named[name] = Path(named[name])
        if "options" in named:
            named["options"] = loaded.options | named["options"]
        unknown = named.keys() - Settings.model_fields.keys()
        if unknown:
            raise ConfigError(f"Unknown setting {min(unknown)!r}. Known: {', '.join(Settings.model_fields)}.")
        return cls(loaded.model_copy(update=named))

    @property
    def data(self) -> DataRoot:
        """Paths of the tables below the data root."""
        return DataRoot(self.settings.data_root)

    @property
    def audio_roots(self) -> AudioRoots:
        """Folders of the audio."""
        roots = [root.expanduser() for root in self.settings.audio_roots or (self.data.audio,)]
        single = [root for root in roots if root.is_file()]
        folders = tuple(dict.fromkeys(root.parent if root in single else root for root in roots))
        if self.settings.files is not None:
            lines = read_lines(self.settings.files, ConfigError)
            listed = [AudioRoots(folders).file(line.rstrip("\r\n")) for line in lines if line.strip()]
            return AudioRoots(folders, self.settings.exclude, (*single, *listed), self._sections)
        if single and len(single) < len(roots):
            raise ConfigError(
                f"{single[0]} is a file among audio folders. Name folders or files, or a list of files: --files LIST"
            )
        return AudioRoots(folders, self.settings.exclude, tuple(single) if single else None, self._sections)

    @property
    def _sections(self) -> dict[str, Section]:
        from eno.data.library.outlines import read_sections

        return read_sections(self.data.tracks)

    @property
    def present_audio_roots(self) -> AudioRoots | None:
        """Folders of the audio that exist now; None if there are none."""
        roots = self.audio_roots
        present = tuple(folder for folder in roots.folders if folder.is_dir())
        return replace(roots, folders=present) if present else None

    @cached_property
    def tracks(self) -> pa.Table:
        """The audio files and their tags, as ``eno scan`` found them; a CatalogueError if it was not run yet."""
        from eno.data.library.scanning import read_tracks

        return read_tracks(self.data.tracks)

    @cached_property
    def albums(self) -> pa.Table:
        """The albums with their genres and descriptors; a CatalogueError if none were imported yet."""
        from eno.data.lute.albums import read_albums

        return read_albums(self.data.albums)

    @cached_property
    def labels(self) -> LabelEncoder:
        """The vocabulary that ``eno labels`` chose."""
        from eno.data.labels.encoder import LabelEncoder

        return LabelEncoder.load(self.data.label_encoder)

    # Encoders and embedding stores

    @property
    def window_policy(self) -> WindowPolicy:
        """Which windows of a track are encoded."""
        from eno.audio.windows import WindowPolicy

        return WindowPolicy(**self.settings.windows.model_dump())

    def encoder(self, name: str | None = None, *, device: str | None = None) -> Encoder:
        """Load the encoder of the settings, or another one with its settings."""
        from eno.encoders import load_encoder

        name, chosen = name or self.settings.encoder, self.settings
        return load_encoder(name, device=device or chosen.device, dtype=chosen.dtype, **chosen.options_of(name))

    def encoder_of(self, spec: EncoderSpec, name: str | None = None) -> Encoder:
        """Load the encoder that computed some vectors.

        Its weights are read from where the settings say, or else from where they were then. An encoder that is not part
        of eno must be named, or a ConfigError is raised.
        """
        from eno.encoders import ImportedEncoder, is_imported, is_own, load_encoder

        if name is not None:
            return self.encoder(name)
        if is_imported(spec.name):
            return ImportedEncoder(spec)
        if is_own(spec.name):
            raise ConfigError(
                f"The vectors were computed by the encoder {spec.name!r}, which is not part of eno. If you trust its "
                f"code, name it: --encoder {spec.name}"
            )
        chosen, location = self.settings, self._weights_of(spec.name)
        location = location if "model" in location else spec.location | location
        return load_encoder(spec.name, device=chosen.device, dtype=chosen.dtype, **spec.options, **location)

    def encoders_of(self, specs: Sequence[EncoderSpec], name: str | None = None) -> list[Encoder]:
        """Load the encoders of a predictor, see `encoder_of`; of several, `name` says which is meant."""
        names = [spec.name for spec in specs]
        if name is not None and len(specs) > 1 and name not in names:
            raise ConfigError(f"--encoder {name}: expected one of the predictor's encoders, {' and '.join(names)}.")
        return [self.encoder_of(spec, name if len(specs) == 1 or name == spec.name else None) for spec in specs]

    def _weights_of(self, encoder: str) -> dict[str, Any]:
        """Return where the settings say that an encoder's weights are."""
        options = self.settings.options_of(encoder)
        return {key: options[key] for key in ("model", "revision") if key in options}

    def stores(self) -> list[Path]:
        """Return the folders of all stores below ``settings.embeddings``, sorted."""
        folder = Path(self.settings.embeddings)
        return sorted(path.parent for path in folder.glob(f"*/*/{_MANIFEST}")) if folder.is_dir() else []

    def new_store_place(self, spec: EncoderSpec) -> str:
        """Return where a new store is created: in ``settings.store``, or ``EMBEDDINGS/<audio folder>/<encoder>``."""
        named = self.settings.store
        return named or f"{self.settings.embeddings}/{self.audio_roots.folders[0].resolve().name}/{spec.label}"

    def store_place(self) -> str:
        """Return the folder or URI of the current store.

        This is ``settings.store``, or else the only store of ``settings.encoder`` below ``settings.embeddings``, or
        else the only store there. A ConfigError is raised if there is none, or several; the message lists them.
        """
        if self.settings.store:
            return self.settings.store
        found = self.stores()
        ours = [path for path in found if path.name.startswith(f"{self.settings.encoder.partition(':')[0]}-")]
        candidates = ours or found
        if len(candidates) == 1:
            return str(candidates[0])
        if not found:
            raise ConfigError(
                f"There is no embedding store in {self.settings.embeddings}. Create one with 'eno embed', or name one "
                "with --store."
            )
        names = "\n  ".join(map(str, candidates))
        raise ConfigError(f"There are several stores; name one with --store, or set store in eno.toml:\n  {names}")

    def store(self) -> EmbeddingStore:
        """Open the current embedding store."""
        from eno.embeddings.store.embedding_store import EmbeddingStore

        return EmbeddingStore.open(self.store_place())

    # Predictors

    @property
    def has_predictor(self) -> bool:
        """Whether the folder of the current predictor holds one."""
        return (self.settings.model / _PREDICTOR).is_file()

    def predictor_folder(self) -> Path:
        """Return the folder of the current predictor.

        ``settings.model`` may also be its name on the Hugging Face hub or its id in ClearML, from where it is then
        downloaded; see `eno.inference.sources.find_predictor`.
        """
        from eno.inference.sources import find_predictor

        model, base = self.settings.model, self.settings.base
        name = model.relative_to(base) if model.is_relative_to(base) else model  # as it was written in the file
        if model.exists() or name == Settings.model_fields["model"].default:
            return model
        return find_predictor(str(name))

    def predictor(self, encoder: str | None = None) -> EnoPredictor:
        """Load the current predictor. Its encoder must be named if it is not part of eno."""
        from eno.inference.predictor import EnoPredictor
        from eno.inference.predictor_folder import read_description

        folder = self.predictor_folder()
        encoders = self.encoders_of(read_description(folder).specs, encoder)
        return EnoPredictor.load(folder, device=self.settings.device, encoder=encoders)

    def plan(self, head: str | None = None) -> HeadPlan:
        """Return the settings for training a head."""
        from eno.training.record import HeadPlan

        head, chosen = head or self.settings.head, self.settings
        return HeadPlan(
            head, chosen.options_of(head), chosen.options_of("calibration"), chosen.album, chosen.validation
        )

    def collection(
        self, store: str | Sequence[str] | None = None, *, splits: Path | None = None, labels: Path | None = None
    ) -> Collection:
        """Open a store, or join several, with the splits and the vocabulary to train a head on."""
        from eno.data.labels.encoder import LabelEncoder
        from eno.embeddings.store.joined_stores import open_stores
        from eno.training.collection import Collection

        vocabulary = LabelEncoder.load(labels or self.data.label_encoder)
        places = [store] if isinstance(store, str) else store or [self.store_place()]
        return Collection(open_stores(places), splits or self.data.splits, vocabulary, self.data)

    # Search

    def index(
        self,
        *,
        folder: Path | None = None,
        windows: bool = False,
        current: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> SimilarityIndex:
        """Open the index of the current store, and build it if it does not exist.

        Parameters
        ----------
        windows : bool
            Open the index of windows rather than the one of tracks.
        folder, current, on_progress
            See `eno.similarity.index.build.open_or_build`.
        """
        from eno.similarity.index.build import open_or_build

        options = self.settings.index.model_dump(exclude_none=True)
        level = "windows" if windows else "tracks"
        return open_or_build(self.store(), folder, level=level, current=current, on_progress=on_progress, **options)

    @cached_property
    def sounds_like(self) -> SoundsLike:
        """Search for similar tracks in the current store; its encoder is loaded when a file or text needs it."""
        return self.search()

    def search(self, index: SimilarityIndex | None = None, *, encoder: str | None = None, **options: Any) -> SoundsLike:
        """Search an index, by default that of the current store; see `encoder_of`, and `SoundsLike` for the options."""
        from eno.similarity.kept_metadata import metadata_of
        from eno.similarity.sounds_like import SoundsLike

        store, index = self.store(), index or self.index()
        metadata = metadata_of(index, self.data)
        options = {"audio_roots": self.present_audio_roots, **options}
        load = partial(self.encoder_of, store.spec, encoder)
        return SoundsLike(index, store, encoder=load, metadata=metadata, **options)

    def find_track(self, name: str) -> str:
        """Return the id of the scanned track that a name stands for; see `eno.similarity.lookup.find_track`."""
        from eno.similarity.lookup import find_track

        table = self.tracks
        titles = table["title"].to_pylist() if "title" in table.column_names else None
        return find_track(name, table["track_id"].to_pylist(), titles)

    def status(self) -> list[Step]:
        """Return the state of every step of the workflow, in order."""
        return _Steps(self).steps


class _Steps:
    """Collects the steps. A step is stale if one that it depends on has changed since."""

    def __init__(self, library: Library) -> None:
        self._library, self.steps = library, list[Step]()
        data, chosen = library.data, library.settings
        scanned = partial(self._add, "scanned", _changed(data.tracks), (), "eno scan", _rows(data.tracks, "tracks"))
        if not chosen.lute:
            scanned()  # labels from anywhere but Lute belong to files
        source = f"lute {chosen.lute}" if chosen.lute else "tags"
        self._add("imported", _changed(data.albums), (), f"eno import {source}", _rows(data.albums, "albums"))
        if chosen.lute:
            scanned()
        self._add("matched", _changed(data.matches), ("imported", "scanned"), "eno match")
        self._add("labelled", _changed(data.label_encoder), ("imported", "matched"), "eno labels", self._labels())
        self._add("split", _changed(data.splits / "train.parquet"), ("matched",), "eno split")
        self._add_store()
        model = chosen.model / _PREDICTOR
        self._add("trained", _changed(model), ("embedded", "labelled", "split"), "eno train", str(chosen.model))

    def _add(self, name: str, changed: datetime | None, needs: tuple[str, ...], command: str, detail: str = "") -> None:
        before = [step for step in self.steps if step.name in needs]
        stale = changed is not None and any(step.changed and step.changed > changed for step in before)
        self.steps.append(Step(name, changed, stale, detail if changed else "", command))

    def _labels(self) -> str:
        if not self._library.data.label_encoder.is_file():
            return ""
        return self._library.labels.describe()

    def _add_store(self) -> None:
        from eno.similarity.index.index import SimilarityIndex, index_folder

        indexed = Step("indexed", None, False, "", "eno index build")
        try:
            store = self._library.store()
        except ConfigError:
            choice = " --store STORE" * (len(self._library.stores()) > 1)
            self.steps += [Step("embedded", None, False, "", f"eno embed{choice}"), indexed]
            return
        place, counts = self._library.store_place(), store.summary()
        failed = f", {counts['failures']} failed" * bool(counts["failures"])
        changed = _latest(Path(place)) if store.folder.local else None
        detail = f"{counts['tracks']} tracks{failed}, {place}"
        self.steps.append(Step("embedded", changed or datetime.now(UTC), False, detail, "eno embed"))
        manifest = index_folder(store) / _MANIFEST if store.folder.local else None
        if manifest is not None and manifest.is_file():
            try:
                index = SimilarityIndex.open(manifest.parent)
            except SimilarityError:
                indexed = Step("indexed", _changed(manifest), True, "cannot be read", "eno index build")
            else:
                stale = index.is_older_than(store)
                indexed = Step("indexed", _changed(manifest), stale, f"{len(index):,} tracks", "eno index add")
        self.steps.append(indexed)


def _changed(path: Path) -> datetime | None:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None


def _latest(store: Path) -> datetime | None:
    """Return when vectors were last added to a local store."""
    return max(filter(None, map(_changed, (store / "parts").glob("*"))), default=_changed(store / _MANIFEST))


def _rows(path: Path, noun: str) -> str:
    if not path.is_file():
        return ""
    import pyarrow.parquet as pq

    return f"{pq.read_metadata(path).num_rows:,} {noun}"
