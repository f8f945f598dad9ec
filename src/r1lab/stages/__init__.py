"""The stages of the recipe. Only this folder imports TRL, peft and, at the scales t4 and a100, Unsloth."""

from r1lab.scale import get_scale

if get_scale().engine == "unsloth":
    # Unsloth rewrites classes of trl, transformers and peft, so it must be imported before any of them; a class that
    # was imported earlier stays as it was. This file runs before every module of the stages; notebooks, which import
    # from trl themselves, do the same in their set-up cell.
    from r1lab.unsloth_first import import_unsloth

    try:
        import_unsloth()
    except ModuleNotFoundError as error:
        if error.name != "unsloth":
            raise
        raise ValueError(
            f"scale {get_scale().name} trains with Unsloth, which is not installed: run the set-up cell of a notebook, or "
            "`uv pip install --no-config -r requirements/gpu.txt`"
        ) from error
