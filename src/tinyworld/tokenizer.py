"""The tiny tokenizer: byte-level BPE, digits one by one, tags as ordinary tokens, and a chat template.

Tags must not be special tokens: TRL decodes completions with `skip_special_tokens=True`, so special tags would vanish
before any reward saw them, and every reward would silently be 0.
"""

from collections.abc import Iterable
from itertools import islice

VOCABULARY_SIZE = 640
END, PAD = "<|end|>", "<|pad|>"
# A piece is a tag, a word with the space before it, one digit, or one other character: BPE merges only inside pieces.
PIECES = r"</?[a-z]+>| ?[A-Za-z]+|[0-9]|[\s\S]"
# The prompt ends in a newline and not in a space: "a word with the space before it" is one piece, so after a lone space
# the policy would have to start its reply with a word it never saw there.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n' }}"
    "{% else %}{{ 'Assistant:\n' + message['content'] + eos_token + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:\n' }}{% endif %}"
)


def train_tokenizer(documents: Iterable[dict[str, str]], count: int = 30_000):
    """Learn a `PreTrainedTokenizerFast` of VOCABULARY_SIZE tokens from the first `count` documents."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"User: {row['prompt']}\nAssistant:\n{row['reply']}\n" for row in islice(documents, count))
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )
