"""Make torchaudio importable with a CPU build of PyTorch.

torchaudio's wheels on the package index are linked against CUDA. With a CPU build of PyTorch their compiled extension
cannot be loaded and the import fails, although eno only needs the Python part. This script removes the extension, but
only if it cannot be loaded.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Try the import in a new process; if it fails, remove the compiled files and try again."""
    package = importlib.util.find_spec("torchaudio")
    if package is None or package.origin is None:
        sys.exit("torchaudio is not installed in this environment.")
    if _imports():
        return 0
    for library in sorted((Path(package.origin).parent / "lib").glob("*.so")):
        library.unlink()
        print(f"removed {library.name}: torchaudio's extension needs CUDA, which this PyTorch lacks")
    if _imports():
        return 0
    sys.exit("torchaudio still cannot be imported. Install the build that matches this PyTorch.")


def _imports() -> bool:
    command = [sys.executable, "-c", "import torchaudio"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
