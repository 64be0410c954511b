"""Networks, schedules, samplers, presets and checkpoints of Fada Live, and the head-pose warp."""
