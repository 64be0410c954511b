"""Distillation, one file per method: naive, mixed-supervised, CFG tokens, balanced, roll-out; then fewer steps."""
