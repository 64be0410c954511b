"""Rendered heads that speak: rendered ahead, encoded by whatever autoencoder comes, mixed with drawn characters."""
