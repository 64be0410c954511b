"""Training data: clips, pictures and speech as tensors, and the random draws of a step."""
