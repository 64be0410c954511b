"""The faces on offer: their catalogue, and a picture from its file to a framed canvas. Any thread; no network."""
