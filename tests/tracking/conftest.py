import signal

import pytest

from tests.training.conftest import collection

__all__ = ["collection"]


@pytest.fixture(autouse=True)
def _interrupts():
    """Let SIGINT raise KeyboardInterrupt, which a shell turns off in processes that it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
