"""A stranger's offer, from bytes to what aiortc is given: body, text, bounds, candidates."""
