"""Contract checks for heads and encoders, including your own.

Call them from a test::

    def test_my_head():
        check_head(MyHead)

    def test_my_encoder():
        check_encoder(MyEncoder(device="cpu"))

A failed check raises an AssertionError with a message; pytest is not required.
"""

from eno.testing.encoders import ENCODER_CHECKS, check_encoder
from eno.testing.heads import HEAD_CHECKS, check_head

__all__ = ["ENCODER_CHECKS", "HEAD_CHECKS", "check_encoder", "check_head"]
