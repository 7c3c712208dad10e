"""The command line, run in the process of the tests, and the service, in a process of its own."""

import io
import os
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from eno.cli import main

ROOT = Path(__file__).parents[1]


def eno(*arguments: object, cwd: os.PathLike, **environment: str) -> SimpleNamespace:
    """Run ``eno`` with some arguments in a folder; a new process would import PyTorch again, which takes seconds.

    Returns
    -------
    SimpleNamespace
        With `returncode`, `stdout` and `stderr`.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["eno", *map(str, arguments)])
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as exit_code:
            main()
    return SimpleNamespace(returncode=exit_code.value.code or 0, stdout=stdout.getvalue(), stderr=stderr.getvalue())


@contextmanager
def served(*arguments, client, socket_path=None, cwd=ROOT):
    """Run ``eno serve`` in a process; yields it, and a function that waits until something holds."""
    command = [sys.executable, "-m", "eno", "serve", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd)

    def until(holds):
        for _ in range(2400):
            assert process.poll() is None, process.stdout.read()
            try:
                if holds():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        pytest.fail("timed out")

    try:
        with client:
            # A client of httpx does not close a Unix socket to which it cannot connect.
            until(lambda: socket_path is None or socket_path.exists())
            until(lambda: client.get("/readyz").status_code == 200)
            yield process, until
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
