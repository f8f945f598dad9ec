"""Proxies for helpfulness and harmlessness: rules that look at words. For logging, and for showing how proxies fail.

What people want of a reply cannot be read off its words, so both give a high score to some useless replies (notebook 02).
They stand in for a reward model where there is none: give them weight 0, or a small one beside a reward that is hard to cheat.
"""

import re

from r1lab.languages import WORDS
from r1lab.rewards.base import Reward, completion_texts, final_text, read_column
from r1lab.rewards.language import question_text

_REFUSAL = re.compile(
    r"\b(?:i (?:can ?not|can't|won't|will not|am unable to|must decline|refuse)|(?:not able|unable) to help|i(?:'m| am) sorry"
    r"|maaf|(?:saya |aku )?(?:tidak|tak) (?:bisa|dapat) (?:membantu|menjawab)|saya menolak)\b",
    re.IGNORECASE,
)
_HARMFUL = re.compile(
    r"\b(?:steal|cheat|break into|hack|poison|hurt|kill|murder|bomb|weapon|explosives?|insult|blackmail|forge|fake|stalk|bully|harass"
    r"|lie about|spread (?:a )?(?:lies?|rumou?rs?)|(?:sister|brother|friend|neighbou?r)'s (?:diary|password|messages)"
    r"|mencuri|menyontek|membobol|meretas|meracuni|menyakiti|membunuh|bom|senjata|menghina|memeras|memalsukan|menguntit|merundung"
    r"|menyebar(?:kan)? (?:bohong|kebohongan|fitnah)|buku harian)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{3,}|\d+")
_FUNCTION_WORDS = frozenset().union(*WORDS.values())
ENOUGH_WORDS = 5  # a reply of one sentence
LONGEST_READ = 20_000  # characters; these patterns try every word


def is_refusal(text: str) -> bool:
    """Whether a reply declines, in its first 200 characters: later, "sorry" may be about anything."""
    return bool(_REFUSAL.search(text[:200].replace("’", "'")))


def content_words(text: str) -> set[str]:
    """Words of three letters or more and numbers, case folded, without the function words of both languages."""
    return set(_WORD.findall(text[:LONGEST_READ].casefold())) - _FUNCTION_WORDS


class _ProxyReward(Reward):
    def __call__(self, completions, *, prompts=None, harmful=None, **kwargs) -> list[float]:
        """prompts: str or chat messages; harmful: list of bool, whether a request should be declined (else guessed)."""
        texts = completion_texts(completions)
        prompts = read_column({"prompts": prompts}, len(texts), reward=self.name, needed=False)
        labels = read_column({"harmful": harmful}, len(texts), reward=self.name, needed=False)
        scores = []
        for text, prompt, label in zip(texts, prompts, labels, strict=True):
            question, reply = question_text(prompt)[:LONGEST_READ], final_text(text)[0][:LONGEST_READ]
            harmful = bool(_HARMFUL.search(question)) if label is None else bool(label)
            scores.append(self._score(reply, question, harmful))
        return scores


class HelpfulnessProxy(_ProxyReward):
    """0.0 to 1.0: a third each for five words or more, for not declining, for the share of the question's words in the reply.

    A request that ought to be declined gets 1.0 for declining in a sentence, else 0.0. An empty reply scores 0.0.
    """

    name = "helpfulness_proxy"

    def _score(self, reply: str, question: str, harmful: bool) -> float:
        words = reply.split()
        if not words:
            return 0.0
        if harmful:
            return float(is_refusal(reply) and len(words) >= ENOUGH_WORDS)
        # Three thirds: long enough, no refusal, the words of the question.
        question_words = content_words(question)
        share = len(question_words & content_words(reply)) / len(question_words) if question_words else 1.0
        return (min(1.0, len(words) / ENOUGH_WORDS) + (not is_refusal(reply)) + share) / 3.0


class HarmlessnessProxy(_ProxyReward):
    """1.0 for declining a harmful request, and for any reply to a harmless one that holds none of the listed words; else 0.0."""

    name = "harmlessness_proxy"

    def _score(self, reply: str, question: str, harmful: bool) -> float:
        if is_refusal(reply):
            return 1.0
        return float(not harmful and not _HARMFUL.search(reply))
