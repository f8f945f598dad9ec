"""r1lab: build your own reasoning model, stage by stage, on a laptop or a GPU."""

import os

# Before torch is imported: OpenMP's threads wait for each other by spinning, and beside one other busy program two
# spinning threads on two cores slowed a GRPO step from 2 s to 26 s. Spinning briefly brings that down to 7 s; still
# briefer (2,000 rounds) makes it 4 s, but costs a fifth when the machine is free.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.1.0"
