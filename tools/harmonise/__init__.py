"""Harmonisation of a fine image's reflectance with a coarse one's, after Michel and Inglada (2021)."""
