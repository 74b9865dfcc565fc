"""Artifacts per target from one trained network."""
