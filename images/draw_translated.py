"""Translate the words of four course figures for the Indonesian talk: `python images/draw_translated.py` writes *.id.svg.

Only words are replaced; numbers, names and shapes stay. A word that the English figure no longer has is an error.
"""

import re
from html import escape, unescape
from pathlib import Path

import draw_course

IMAGES = Path(__file__).parent
WORDS = {
    "01_loop": {
        "The loop of reinforcement learning, for a language model": "Siklus reinforcement learning untuk model bahasa",
        "the language model": "si model bahasa",
        "a probability for": "punya peluang untuk",
        "every next token": "tiap token berikutnya",
        "the question": "soal",
        "and the grader,": "dan grader,",
        "a program": "sebuah program",
        "action: a completion": "action: sebuah completion",
        "Each completion gets one reward. The reward changes the policy.":
            "Tiap completion dikasih satu reward. Reward itu mengubah policy.",
    },
    "01_push": {
        "One REINFORCE update": "Satu update REINFORCE",
        "One update: “think” was sampled and earned r = 1.5": "Satu update: “think” tersampel dan dapat r = 1.5",
        "bar: probability π": "batang: probabilitas π",
        "arrow: change of the logit, r · (onehot − π)": "panah: perubahan logit, r · (onehot − π)",
    },
    "01_four_models": {
        "Models held by PPO and by GRPO": "Model yang dipegang PPO dan GRPO",
        "RLHF with PPO: four models": "RLHF dengan PPO: empat model",
        "GRPO with a verifiable reward: one": "GRPO dengan verifiable reward: satu",
        "writes the answer": "menulis jawaban",
        "guesses the reward": "menduga reward",
        "the policy at step 0": "policy di langkah 0",
        "learned from pairs": "dari pasangan teks",
        "writes G answers": "menulis G jawaban",
        "Group mean": "Rata-rata grup",
        "of the G rewards": "dari G reward",
        "arithmetic": "cuma hitungan",
        "only if β > 0": "hanya kalau β > 0",
        "checks the answer": "mengecek jawaban",
        "a program": "sebuah program",
        "Reference": "Referensi",
        "trained": "dilatih",
        "frozen": "dibekukan",
        "trained model": "model dilatih",
        "frozen model": "model beku",
        "no model": "bukan model",
    },
    "02_reward_path": {
        "From a completion to an advantage, and where it is cheated": "Dari completion ke advantage, dan di mana dicurangi",
        "Read": "Baca",
        "which text is the answer?": "yang mana jawabannya?",
        "the <answer> body": "isi <answer>",
        "after </think>": "setelah </think>",
        "hidden in the thought": "diselipkan di pikiran",
        "two of them: “5 or 6”": "dua sekaligus: “5 or 6”",
        "the question itself": "soalnya sendiri",
        "Judge": "Nilai",
        "is it right?": "benar tidak?",
        "exact numbers first,": "angka eksak dulu,",
        "algebra can be killed": "aljabar bisa dimatikan",
        "gold misread: 2√3 as 2": "kunci 2√3 terbaca 2",
        "sums that never end": "hitungan tanpa akhir",
        "printed verdicts": "vonis cetakan sendiri",
        "Pay": "Bayar",
        "how much?": "berapa?",
        "bounded; right beats": "ada batas; benar pasti",
        "wrong, always": "menang dari salah",
        "empty step words": "kata langkah kosong",
        "padding, loops, blurts": "ganjal, loop, asal jawab",
        "tags without thought": "tag tanpa pikiran",
        "Compare": "Bandingkan",
        "better than its group?": "menang dari grupnya?",
        "None only where the": "None hanya kalau",
        "problem is at fault": "soalnya yang salah",
        "batch, not group": "batch, bukan grup",
        "None instead of −1": "None, bukan −1",
        "all equal: no push": "semua sama: diam",
        "our rule": "aturan kami",
        "how it is cheated": "cara curangnya",
    },
}  # fmt: skip


def translate(name):
    """Write `name`.id.svg. Raises KeyError when a translated word is not in the English figure."""
    drawing = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
    drawing = re.sub(r"<desc[^>]*>.*?</desc>", "", drawing).replace(' aria-labelledby="title desc"', "")
    unused = set(WORDS[name])

    def replace(found):
        words = unescape(found[2])
        unused.discard(words)
        return found[1] + escape(WORDS[name].get(words, words)) + found[3]

    drawing = re.sub(r"(<(?:text|title)[^>]*>)(.*?)(</(?:text|title)>)", replace, drawing)
    if unused:
        raise KeyError(f"{name}.svg no longer says {sorted(unused)}")
    (Path(draw_course.__file__).parent / f"{name}.id.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    for figure in WORDS:
        translate(figure)
