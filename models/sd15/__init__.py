"""Networks in the layout of Stable Diffusion 1.5 as EchoMimic uses it: key names and arithmetic alike.

Files in the order in which data flows: whisper and wav2vec (sound to tokens), vae and tiny_decoder (pictures and
latents), face_locator, blocks and unet (ReferenceNet, denoiser), model (all of them as one), networks (what the
stream asks for), contexts and clips (whole clips offline, as EchoMimic draws them), echomimic (its weight files).
"""
