# @title Set up: on Colab and Kaggle, choose and run; a laptop is set up already.
import os
import subprocess
import sys

SCALE = "tiny"  # @param ["tiny", "t4", "a100"]
STEPS = 0  # @param {type:"integer"}
CONTINUE = False  # @param {type:"boolean"}
USE_DRIVE = False  # @param {type:"boolean"}

if "COLAB_" in "".join(os.environ) or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
    if not os.path.isdir("r1lab/src"):
        url = "https://github.com/r1lab/r1lab"
        subprocess.run(["git", "clone", "-q", "--depth", "1", url], check=True)
    sys.path.insert(0, os.path.abspath("r1lab/src"))
    sys.path.append(os.path.abspath("r1lab/tools"))
    from notebook_setup import set_up

    set_up(SCALE, steps=STEPS, resume=CONTINUE, use_drive=USE_DRIVE)
if os.environ.get("R1LAB_SCALE") in ("t4", "a100"):
    from r1lab.unsloth_first import import_unsloth

    import_unsloth()  # before trl and transformers, which it rewrites
