"""Training stages, one file each, in their order: vae (and decoder), probe, audio, teacher, student."""
