"""The version of eno."""

__version__ = "0.2.0"
