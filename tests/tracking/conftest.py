from tests.training.conftest import collection

__all__ = ["collection"]
