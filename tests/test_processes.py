import platform
import subprocess
import sys

import pytest

FREES_AN_ARRAY_BETWEEN_OTHERS = """
import numpy as np
from eno.processes import give_back_large_arrays

def in_memory():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

give_back_large_arrays()
np.ones(3_000_000)  # from now on, glibc would keep arrays of this size
large, longer_lived = np.ones(3_000_000), np.ones(300_000)
before = in_memory()
del large
print(before - in_memory())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries decide by themselves")
def test_gives_a_large_array_back_although_another_one_lies_behind_it():
    command = [sys.executable, "-c", FREES_AN_ARRAY_BETWEEN_OTHERS]
    given_back_kib = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert given_back_kib > 20_000  # of 24 MB
