"""r1lab: build your own reasoning model, stage by stage, on a laptop or a GPU."""

__version__ = "0.1.0"
