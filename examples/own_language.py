"""Your own language: add a third one, Javanese, to the language reward, and try it by hand.

    python examples/own_language.py

This program does not train. The tiny base was pretrained on English and Indonesian only, and it never gets a reward for a language that it
never writes. To train, write the language into a corpus of your own (src/tinyworld, `make base`) or take a base model that knows it.
"""

from r1lab import languages, prompts
from r1lab.rewards import make_reward

# 1. Words that are frequent, short and this language's own. Words that another language of the course shares are removed.
_WORDS = """
    iku iki kuwi sing lan utawa nanging yen amarga supaya banjur dadi wis durung arep isih uga kabeh saben
    siji loro telu papat lima enem pitu wolu sanga sepuluh pira sapa apa kapan kenging ora dudu aja
    ing menyang saka karo kanggo jawabane asile ping pisan
"""
JAVANESE = frozenset(_WORDS.split()) - languages.ENGLISH - languages.INDONESIAN


def add_language(code: str, words: frozenset[str], instruction: str, direct: str) -> None:
    """Add a language to the counter of function words, to the reward and to the prompts."""
    languages.WORDS[code] = words
    prompts.ZERO[code], prompts.DIRECT[code] = instruction, direct


def main() -> list[float]:
    """The rewards of four texts that answer a Javanese question. It also prints what GRPO would do with them."""
    add_language(
        "jv",
        JAVANESE,
        "Sampeyan bakal diwenehi pitakon. Pikiren dhisik, banjur wangsulana. Tulisen pikiranmu ing antarane <think> lan </think>, "
        "banjur mung asile ing antarane <answer> lan </answer>.",
        "Pikiren kanthi rinci, langkah mbaka langkah, banjur priksanen saben langkah sadurunge mangsuli.",
    )
    texts = {
        "Javanese": "<think>Siji lan loro dadi telu. Banjur telu karo papat dadi pitu.</think> <answer>7</answer>",
        "mixed": "<think>Siji lan loro dadi telu. Then three plus four is seven.</think> <answer>7</answer>",
        "English": "<think>One and two is three. Then three plus four is seven.</think> <answer>7</answer>",
        "no words": "<think>1+2=3. 3+4=7.</think> <answer>7</answer>",
    }
    reward = make_reward("language_consistency", smoothing=0)
    rewards = reward(list(texts.values()), language=["jv"] * len(texts))
    mean = sum(rewards) / len(rewards)
    for name, value in zip(texts, rewards, strict=True):
        print(
            f"{name:<10} {value:.2f}   {'raised' if value > mean else 'lowered' if value < mean else 'unchanged'}"
        )
    messages = prompts.render_prompt("Siji ditambah loro dadi pira?", language="jv")
    print("\nthe instruction of a Javanese question:", messages[0]["content"][:60], "...")
    return rewards


if __name__ == "__main__":
    main()
