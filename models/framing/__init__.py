"""Where a face lies in a picture, and the similarity that lays it on the canvas. No torch; any thread."""
