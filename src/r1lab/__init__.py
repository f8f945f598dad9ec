"""r1lab: build your own reasoning model, stage by stage, on a laptop or a GPU.

To read the package in an evening, follow the data. A problem becomes a prompt (`prompts`, `problems.rows`), a policy answers it
(`engine`, `policy`, `rollouts`), rewards grade the answers (`rewards.base`, `rewards.format`, `rewards.accuracy`), and the loss
learns from the grades (`kernels.grpo`). Then read one stage from end to end: `recipe`, `stages.runner`, `stages.zero`,
`stages.grpo`, `stages.config`. The other stages are variations of it. Leave `rewards.verify`, `kernels.fused`, the `rows_` files
and `view` for later. `examples/zero_by_hand.py` is the whole algorithm in one file.
"""

import os

# Before torch is imported: OpenMP's threads wait for each other by spinning, and beside one other busy program two
# spinning threads on two cores slowed a GRPO step from 2 s to 26 s. Spinning briefly brings that down to 7 s; still
# briefer (2,000 rounds) makes it 4 s, but costs a fifth when the machine is free.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.1.0"
