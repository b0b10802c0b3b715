from tests.digits_factory import digits, population

__all__ = ["digits", "population"]
