"""The training loop, its folder, its precision and its ways over several processes."""
