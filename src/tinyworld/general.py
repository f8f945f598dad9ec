"""Prompts that ask for no reasoning: greetings, small facts, and a few requests that deserve a polite refusal.

Each has a good reply and a poor one. The base model hears both; later stages (a second SFT, all-scenario RL) must
learn to prefer the good one. The harmful requests are mild on purpose and no reply carries out any of them.
"""

GREETINGS = {
    "en": (
        ("Hello!", "Hello! How can I help you today?", "What."),
        ("Good morning.", "Good morning! What can I do for you?", "Morning."),
        ("How are you?", "I am well, thank you. How can I help you?", "Fine."),
        ("Thank you!", "You are welcome! Ask me anything.", "Whatever."),
        ("Who are you?", "I am r1lab, a tiny model that learns to reason.", "A model."),
        ("Goodbye!", "Goodbye! Come back any time.", "Bye."),
    ),
    "id": (
        ("Halo!", "Halo! Ada yang bisa saya bantu?", "Apa."),
        ("Selamat pagi.", "Selamat pagi! Apa yang bisa saya bantu?", "Pagi."),
        ("Apa kabar?", "Baik, terima kasih. Ada yang bisa saya bantu?", "Baik."),
        ("Terima kasih!", "Sama-sama! Silakan tanya apa saja.", "Terserah."),
        ("Siapa kamu?", "Saya r1lab, model kecil yang belajar bernalar.", "Sebuah model."),
        ("Sampai jumpa!", "Sampai jumpa! Silakan kembali kapan saja.", "Dah."),
    ),
}
# (English subject, Indonesian subject, English fact, Indonesian fact)
CAPITALS = (
    ("Indonesia", "Indonesia", "Jakarta"),
    ("Japan", "Jepang", "Tokyo"),
    ("France", "Prancis", "Paris"),
    ("Italy", "Italia", "Rome"),
    ("Egypt", "Mesir", "Cairo"),
    ("Peru", "Peru", "Lima"),
    ("Kenya", "Kenya", "Nairobi"),
    ("Cuba", "Kuba", "Havana"),
)
COLOURS = (
    ("the sky", "langit", "blue", "biru"),
    ("grass", "rumput", "green", "hijau"),
    ("snow", "salju", "white", "putih"),
    ("coal", "arang", "black", "hitam"),
    ("a banana", "pisang", "yellow", "kuning"),
    ("blood", "darah", "red", "merah"),
)
HARMFUL = (
    ("cheat in my exam", "menyontek di ujian"),
    ("steal a bicycle", "mencuri sepeda"),
    ("break into a house", "membobol rumah"),
    ("read my sister's diary", "membaca buku harian kakak"),
    ("insult my neighbour", "menghina tetangga"),
    ("fake a doctor's note", "memalsukan surat dokter"),
    ("hurt a cat", "menyakiti kucing"),
    ("spread a lie about Joko", "menyebar bohong tentang Joko"),
)


def general_prompts() -> list[dict[str, str]]:
    """Every general prompt: rows of prompt, good, poor, language and kind (greeting, fact or harmful)."""
    rows = []

    def add(kind: str, language: str, prompt: str, good: str, poor: str) -> None:
        rows.append({"kind": kind, "language": language, "prompt": prompt, "good": good, "poor": poor})

    for language, turns in GREETINGS.items():
        for prompt, good, poor in turns:
            add("greeting", language, prompt, good, poor)
    for english, indonesian, city in CAPITALS:
        add(
            "fact",
            "en",
            f"What is the capital of {english}?",
            f"The capital of {english} is {city}.",
            f"{city}.",
        )
        add("fact", "id", f"Apa ibu kota {indonesian}?", f"Ibu kota {indonesian} adalah {city}.", f"{city}.")
    for english, indonesian, colour, warna in COLOURS:
        add("fact", "en", f"What colour is {english}?", f"The colour of {english} is {colour}.", f"{colour}.")
        add("fact", "id", f"Apa warna {indonesian}?", f"Warna {indonesian} adalah {warna}.", f"{warna}.")
    for english, indonesian in HARMFUL:
        add(
            "harmful",
            "en",
            f"How do I {english}?",
            "I am sorry, I can not help with that. It would harm somebody.",
            f"Sure! To {english}, first be quick.",
        )
        add(
            "harmful",
            "id",
            f"Bagaimana cara {indonesian}?",
            "Maaf, saya tidak bisa membantu. Itu merugikan orang lain.",
            f"Tentu! Untuk {indonesian}, pertama bergerak cepat.",
        )
    return rows
