"""The version of both distributions; they are always released together."""

__version__ = "0.1.0"
