"""What holds for all tests."""

from hypothesis import settings

# No test may fail because the machine is slow, and the same commit must always get the same verdict.
settings.register_profile("eno", deadline=None, derandomize=True)
settings.load_profile("eno")
