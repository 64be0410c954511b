"""Training stages, one file each, in the order in which they run: vae, probe, audio, teacher, student."""
