"""The networks' modules: audio encoder, UNet blocks and UNets, autoencoder."""
