"""Compute the log-mel spectrograms for training the CNN, as ``processed/features/<track_id>.npy``.

Run ``eno split`` first. The script can be stopped at any time; run the same command to continue.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from eno.cnn.feature_files import prepare_features
from eno.config import load_settings
from eno.console import console, errors, progress
from eno.data.layout import DataRoot
from eno.errors import EnoError


def main() -> int:
    """Compute missing features and print a summary; return 1 if any track failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data_root", "--data-root", type=Path, help="folder of raw/ and processed/ (default: from eno.toml)"
    )
    parser.add_argument("--audio_root", "--audio-root", type=Path, action="append",
                        help="folder of audio files; can be repeated (default: raw/audio)")  # fmt: skip
    parser.add_argument("--sample_rate", type=int, default=16_000, help="sample rate in Hz (default: 16000)")
    parser.add_argument("--n_mels", type=int, default=128, help="number of mel bands (default: 128)")
    parser.add_argument("--num_workers", type=int, help="worker processes (default: one per core)")
    chosen = parser.parse_args()
    try:
        root = DataRoot(chosen.data_root or load_settings().data_root)
        with progress("features") as show:
            report = prepare_features(
                root,
                sample_rate=chosen.sample_rate,
                n_mels=chosen.n_mels,
                num_workers=chosen.num_workers,
                audio_roots=chosen.audio_root,
                on_progress=show,
            )
    except EnoError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("stopped; run the same command to continue")
        return 130
    console.print(
        f"{report.found} tracks: {report.made} computed, {report.skipped} up to date, {len(report.failures)} failed"
    )
    for failure in report.failures:
        console.print(f"{failure.path}: {failure.reason}", markup=False)
    console.print(str(root.features), markup=False)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
