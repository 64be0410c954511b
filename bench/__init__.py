"""Measurements: kernels, engine, end to end, and what this machine is.

In flow the networks and a running server; out flow figures, printed and written to bench/results/NAME.json
with the hardware, versions, commit and date they belong to.
"""
