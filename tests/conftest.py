"""Settings of all tests."""

import os

# Several threads on the small data of the tests mostly wait for each other. This must precede the import of PyTorch,
# and holds for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # where there are several, they sleep while they wait
# Numba, once umap has used it, sets the number of PyTorch's threads to its own.
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from hypothesis import settings

# No test may fail because the machine is slow, and the same commit must always get the same verdict.
settings.register_profile("eno", deadline=None, derandomize=True)
settings.load_profile("eno")
