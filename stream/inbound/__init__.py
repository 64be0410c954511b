"""Sound on its way in: packets to one gapless timeline, concealed where lost, resampled for the engine."""
