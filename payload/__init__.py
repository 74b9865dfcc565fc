"""Skysift: Sentinel-2 strips in, ranked products out, inside a memory budget."""

__version__ = "0.1.0"
