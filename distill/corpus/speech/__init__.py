"""Synthesised speech with phone timings, and the mouth that belongs to it."""
