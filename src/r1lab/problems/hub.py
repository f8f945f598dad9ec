"""Problems from the Hugging Face hub, brought to the same keys as the tiny world's."""

DAPO_MATH = "open-r1/DAPO-Math-17k-Processed"  # 14,116 English rows, deduplicated from DAPO-Math-17k (ByteDance, 2025)


def dapo_row(row: dict, number: int) -> dict[str, str]:
    """One row of DAPO-Math-17k-Processed in our keys. Raises ValueError naming a missing column."""
    for column in ("prompt", "solution"):
        if not row.get(column):
            raise ValueError(
                f"row {number} of {DAPO_MATH} has no {column!r}: the data set has changed, pin an older revision"
            )
    return {
        "id": f"dapo-{number:06d}",
        "prompt": row["prompt"],
        "solution": str(row["solution"]),
        "domain": "competition",
        "kind": "competition",
        "language": "en",
        "level": "hard",
        "verifier": "math",
        "tests": "",
        "source": DAPO_MATH,
    }


def load_dapo_math(seed: int = 0) -> list[dict[str, str]]:
    """The English part of DAPO-Math-17k-Processed, shuffled once. Raises ConnectionError when the hub is out of reach."""
    from datasets import load_dataset

    try:
        dataset = load_dataset(DAPO_MATH, "en", split="train")
    except Exception as error:  # the hub client raises a dozen unrelated types for "no network"
        raise ConnectionError(
            f"could not load {DAPO_MATH} ({type(error).__name__}): check the network, or use R1LAB_SCALE=tiny, which is offline"
        ) from error
    return [dapo_row(row, number) for number, row in enumerate(dataset.shuffle(seed=seed))]
