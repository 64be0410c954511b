"""Noise schedules, samplers and multi-CFG guidance."""
