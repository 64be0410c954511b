"""The procedural corpora: drawn characters, rendered heads, speech; deterministic by seed."""
