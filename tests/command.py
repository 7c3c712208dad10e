"""The command line, run in the process of the tests."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest

from eno.cli import main


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
