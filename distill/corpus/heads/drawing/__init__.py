"""How heads become pictures: rasteriser, light, skin, hair, eyes, backdrops, camera."""
