"""Scores the networks as they fly, on any folder of images: `python -m tools.evaluate`."""
