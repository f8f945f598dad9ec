"""Every test runs offline, at scale tiny, on few threads, and draws the same examples each time."""

import gc
import os
import sys

# Before anything imports torch or transformers, which read these once.
os.environ["R1LAB_SCALE"] = "tiny"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# pytest-xdist runs several processes, and more threads than cores would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("MPLBACKEND", "Agg")

from hypothesis import settings

gc.disable()  # while the tests are imported; nothing of that is garbage

# The first draw of a strategy may pay for an import, and CI machines stall: time limits would only be noise.
settings.register_profile("r1lab", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("r1lab")
frozen = 0  # modules


def exempt_imports():
    """Exempt imported modules from garbage collection: trainers collect often, and torch and trl are a million objects."""
    global frozen
    if len(sys.modules) > frozen + 100:
        gc.collect()
        gc.freeze()
        frozen = len(sys.modules)


def pytest_collection_finish(session):
    exempt_imports()
    gc.enable()


def pytest_runtest_teardown(item, nextitem):
    exempt_imports()  # the first trainer imports what trains
