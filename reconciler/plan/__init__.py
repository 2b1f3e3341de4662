"""(desired, observed, now) to a plan. Pure: no clock, randomness, disk, loop or root."""
