"""The manifest of a store."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import NamedTuple

from eno.audio.windows import WindowPolicy
from eno.embeddings.store.folder import Folder
from eno.errors import FingerprintMismatch, StoreError, check_format
from eno.spec import EncoderSpec

MANIFEST_FILE = "manifest.json"
_FORMAT = 2


class Manifest(NamedTuple):
    """Encoder, windows, and ``"float16"`` or ``"float32"``."""

    spec: EncoderSpec
    policy: WindowPolicy
    dtype: str


def write_manifest(folder: Folder, manifest: Manifest) -> None:
    """Write the manifest, in the present format."""
    content = {"format": _FORMAT, "fingerprint": manifest.spec.fingerprint, "encoder": manifest.spec.to_dict()}
    content |= {"windows": asdict(manifest.policy), "dtype": manifest.dtype}
    folder.write(MANIFEST_FILE, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_manifest(folder: Folder) -> Manifest:
    """Read the manifest; raise StoreError if it is missing, damaged or of a newer version."""
    if not folder.exists(MANIFEST_FILE):
        raise StoreError(
            f"{folder}: is not an embedding store ({MANIFEST_FILE} is missing). Create one with 'eno embed'."
        )
    try:
        content = json.loads(folder.read(MANIFEST_FILE))
        check_format(str(folder), content["format"], _FORMAT, StoreError)
        spec = EncoderSpec.from_dict(content["encoder"])
        manifest = Manifest(spec, WindowPolicy(**content["windows"]), content["dtype"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder}/{MANIFEST_FILE}: is damaged ({error!r}).") from error
    if spec.fingerprint != content["fingerprint"]:
        found = f"encoder settings with fingerprint {spec.fingerprint}"
        raise FingerprintMismatch(found, content["fingerprint"], f"{folder}/{MANIFEST_FILE} was edited.")
    return manifest
