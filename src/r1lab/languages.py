"""The share of each course language in a text, measured by its function words.

Language detectors for paragraphs take "Step 1: 2+2=4" for Afrikaans. Function words are frequent, also in short reasoning,
and most belong to one language. Counting them is enough to tell English from Indonesian.
"""

import re

# Words that exist in both (a, an, air, minus, no, pada, per, plus, total) and single letters are in neither set.
_ENGLISH_WORDS = """
    the is are was were am be been being has have had having do does did doing done
    you he she it its we they them him his her hers our ours your yours my mine me us their theirs
    this that these those there here what which who whom whose when where why how
    and or but if then else because so since while until unless although though whether as than
    of to in on at by for from with without into onto over under between among about after before
    behind during through against above below up down out off
    not never nor none nothing neither only also too very just now again still already yet always often once
    first second third next last finally therefore thus hence
    can could will would shall should may might must cannot let lets
    all any both each every either few many more most much other another some such same own one two three four
    five six seven eight nine ten times
    it's that's let's don't doesn't didn't isn't aren't wasn't can't won't i'm i'll we're we'll you're there's
    answer wait check number lies lie liar honest says say said means mean gives give get gets
    find need know think because equals equal wrong right correct
"""
_INDONESIAN_WORDS = """
    yang adalah ialah merupakan itu ini tersebut sebuah suatu seorang para
    saya aku kamu anda dia ia kita kami mereka beliau kalian nya
    dan atau tetapi tapi namun jika kalau apabila maka karena sebab sehingga agar supaya sebelum sesudah setelah
    ketika saat sementara sambil meskipun walaupun bahwa daripada seperti sebagai
    di ke dari dengan tanpa untuk oleh dalam antara tentang terhadap kepada hingga sampai sejak
    depan belakang atas bawah luar
    tidak tak bukan belum jangan tiada hanya juga pun lagi masih sudah telah akan sedang pernah selalu sering
    pertama kedua ketiga keempat lalu kemudian selanjutnya berikutnya terakhir akhirnya jadi jadinya demikian
    bisa dapat boleh harus perlu mungkin mari ayo coba
    semua setiap tiap banyak sedikit beberapa sekali lebih paling sangat lain lainnya sama sendiri masing
    satu dua tiga empat enam tujuh delapan sembilan sepuluh kali
    apa siapa mana kapan kenapa mengapa bagaimana berapa apakah siapakah
    sekarang nanti tadi begitu begini sini sana situ punya ada adanya berarti artinya yaitu yakni
    jawaban jawabannya hasil hasilnya nilai nilainya tunggu cek periksa nomor urutan bohong pembohong jujur
    kata katanya bilang berkata mengatakan benar salah betul hitung menjadi dikurangi ditambah dikali dibagi
    ternyata memang sebenarnya ya
"""
ENGLISH = frozenset(_ENGLISH_WORDS.split())
INDONESIAN = frozenset(_INDONESIAN_WORDS.split())
WORDS = {"en": ENGLISH, "id": INDONESIAN}

# What carries no language: code, mathematics, tags. An unclosed fence or formula runs to the end of the text.
_NOT_PROSE = re.compile(
    r"""
      ```.*?(?:```|\Z)                                 # a fenced block
    | `[^`\n]*`                                        # inline code
    | \$\$.*?(?:\$\$|\Z) | \\\[.*?(?:\\\]|\Z) | \\\(.*?(?:\\\)|\Z)
    | \$(?=\S)[^$\n]*(?<=\S)\$(?!\d)                   # $x$, but not the prices in "costs $5 and $6"
    | \\[A-Za-z]+                                      # a stray LaTeX command
    | \bdef[ \t]+\w+\([^)\n]{0,200}\)[^:\n]{0,80}:[^\n]*(?:\n[ \t]+[^\n]*)*   # an unfenced Python function
    | </?\w+>                                          # a tag
    """,
    re.DOTALL | re.VERBOSE,
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def count_function_words(text: str) -> dict[str, int]:
    """Number of function words of each language in `text`: {"en": int, "id": int}.

    Tags, code, formulas and numbers are removed first. Raises no error on any text.
    """
    words = _WORD.findall(_NOT_PROSE.sub(" ", text).replace("’", "'").lower())
    return {language: sum(word in known for word in words) for language, known in WORDS.items()}


def language_share(text: str, language: str) -> float | None:
    """Share of the function words of `text` that belong to `language` ("en" or "id"), from 0 to 1.

    None when the text has no function word of either language. DeepSeek-AI (2025, section 2.3.2) rewards the share of words
    in the target language; here only function words are counted. Raises ValueError on another language.
    """
    if language not in WORDS:
        raise ValueError(f"no function words for language {language!r}: choose one of {', '.join(WORDS)}")
    counts = count_function_words(text)
    total = sum(counts.values())
    return counts[language] / total if total else None
