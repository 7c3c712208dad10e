"""Contract checks for heads and encoders, also for those that are not part of eno.

Call them from a test::

    from eno.testing import check_encoder, check_head

    def test_my_head():
        check_head(MyHead)

    def test_my_encoder():
        check_encoder(MyEncoder(device="cpu"))

A failed check raises AssertionError with a message; pytest is not needed.
"""

from eno.testing.encoders import ENCODER_CHECKS, check_encoder
from eno.testing.heads import HEAD_CHECKS, check_head

__all__ = ["ENCODER_CHECKS", "HEAD_CHECKS", "check_encoder", "check_head"]
