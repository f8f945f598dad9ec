"""r1lab: build your own reasoning model, stage by stage, on a laptop or a GPU."""

import os

# Before torch is imported: OpenMP's threads wait for each other by spinning, and beside one other busy program two
# spinning threads on two cores slowed a GRPO step from 1.5 s to 26 s. Spinning briefly costs nothing when alone
# and brings that down to 4 s.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__version__ = "0.1.0"
