"""Pictures and voice on their way out: one clock (pacer), encoders, and the same packets to everybody."""
