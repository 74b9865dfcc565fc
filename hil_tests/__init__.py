"""Tests that need a bench: a board with Skysift on it, described in a file."""
