"""The version of eno."""

__version__ = "0.1.0"
