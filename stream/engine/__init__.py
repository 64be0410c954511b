"""Whose windows run now, at which cost, and what draws them.

windower -> engine_stream -> scheduler (degradation, admission) -> protocol -> torch_engine (the only torch in
`stream`). The scheduler's thread draws; the rest runs on the event loop.
"""
