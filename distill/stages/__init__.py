"""Training stages, one file each: vae (and decoder), probe, audio, teacher; `distill.methods` has the students."""
