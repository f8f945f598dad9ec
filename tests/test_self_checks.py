"""Self-checks are found in both languages, and other words are not."""

from r1lab.self_checks import check_outcomes, count_checks, has_self_check

SEEN = """First 19-5=13. Wait, check: 19-5=14. | Pertama 19-5=13. Tunggu, cek: 19-5=14. | Wait... that is wrong
| Hold on, the sign | Let me double-check this | Let's verify the result. | I should re-check it | Mari kita periksa.
| Coba hitung ulang | Saya periksa kembali | Tunggu dulu, salah"""
OTHER = """First 12+7=19. | She will wait for the bus. | Dia tunggu bus itu | He pays by check | lebih lama lagi | """


def test_self_checks_are_found_and_other_words_are_not():
    assert [text for text in SEEN.split("|") if not has_self_check(text)] == []
    assert [text for text in OTHER.split("|") if has_self_check(text)] == []


def test_check_outcomes():
    text = "First 19-5=13. Wait, check: 19-5=14. Lalu 14*2=28. Tunggu, cek: 14*2=28. "
    text += "Then 28/4=7. Wait, check: 28/4=6. Next 7+1=9. Wait, check: 7+1=9."
    assert check_outcomes(text) == {"repaired": 1, "confirmed": 1, "spoiled": 1, "missed": 1}
    assert check_outcomes("Wait, check: Ani lies.") == dict.fromkeys(check_outcomes(""), 0)
    assert count_checks([f"First {'9' * 5000}+1=2."])["sums"] == 0  # too long for Python to read


def test_checks_and_slips_are_counted_apart():
    texts = [
        "First 19-5=13. Wait, check: 19-5=14. Then 14+1=15.",  # a slip, repaired
        "First 2+2=4. Wait, check: 2+2=4.",  # confirmed
        "First 2+2=5. Then 5+1=6.",  # a slip nobody looked at
        "Wait, check: 3-5=-2. Then -2+4=2.",  # signed numbers are left to others
    ]
    outcomes = {"repaired": 1, "confirmed": 1, "spoiled": 0, "missed": 0}
    assert count_checks(texts) == {"completions": 4, "with_check": 3, "sums": 6, "slips": 2} | outcomes
