"""Decides. Touches no file, clock, thread, log or native runtime."""
