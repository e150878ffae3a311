"""Texts -> words -> a bag of words, and what each word of a text says for a category.

In: the texts of products. Out: their words, weighed rows of a sparse matrix, and the contributions
of words to a saved network's scores. No TensorFlow here. The classifiers of text use it:

    python categorize_words.py --min-products 50
    python categorize_words.py --explain 17 --experiment 1
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from common.text import composed, unescaped

TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")
# All of ASCII but letters, digits and the apostrophe is a blank.
ASCII = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "'")}
# Python's \w leaves out the vowel signs of Hebrew, Arabic and the scripts from India to Cambodia,
# and accents that have no letter of their own together with what they are on.
SIGNS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963"
    "\u0971-\u0e3e\u0e40-\u0e4e\u0e81-\u0ece\u0f71-\u0f84\u1000-\u1049\u1780-\u17d3"
)
NO_WORD = re.compile(rf"[^\w'{SIGNS}]+|_+")
# Scripts that are written without blanks: each of their characters is a word.
ALONE = re.compile(
    "[\u3041-\u3096\u30a1-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
LOOSE = re.compile(r"(?<![^\s'])'+|'+(?![^\s'])")


def tokens(text: str) -> list[str]:
    """The words of a text: entities read once, markup dropped, case folded, and letters and digits
    of any language kept together with the apostrophes between them (women's, café, 27)."""
    if "&" in text or "<" in text:
        text = TAG.sub(" ", unescaped(text))
    if text.isascii():
        text = text.lower().translate(ASCII)
    else:
        text = composed("NFKC", text).casefold().replace("\u2019", "'")
        text = ALONE.sub(r" \g<0> ", NO_WORD.sub(" ", text))
    return (LOOSE.sub(" ", text) if "'" in text else text).split()


def tokens_of_2016(text: str) -> list[str]:
    """The words as the original study cut them: only tags of one or two characters dropped, then
    all but a to z, 0 to 9 and the blank deleted, which glues what a line break parted."""
    return re.sub("[^a-z0-9 ]", "", re.sub("<..?>", " ", text.lower())).split()


def weigh(has: Any, idf: np.ndarray) -> Any:
    """The bag of words float32 of CSR [n, columns], 1 if a text has a term: TF-IDF rows of
    length 5, as long as a text of 25 words of which all count alike."""
    bag = has.astype(np.float32)
    bag.data *= idf[bag.indices]
    square = np.add.reduceat(np.append(bag.data**2, 0), bag.indptr[:-1])
    square[np.diff(bag.indptr) == 0] = 1
    bag.data *= np.repeat((5 / np.sqrt(square)).astype(np.float32), np.diff(bag.indptr))
    return bag


# ---- what a saved network makes of words --------------------------------------------------------


def words_weights(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of the network of words in those of a saved model, which may fuse it with others:
    with an encoder's, and then with a picture's (fusion.fusion puts their names before them)."""
    for prefix in ("text_", "words_"):
        within = {
            name.removeprefix(prefix): array
            for name, array in weights.items()
            if name.startswith(prefix)
        }
        weights = within or weights
    return weights


def contributions(
    weights: dict[str, np.ndarray], columns: np.ndarray, values: np.ndarray, first: int, second: int
) -> tuple[np.ndarray, float]:
    """What each term of a product adds to the logit of class `first` over that of `second`, and
    what is left without words. Around a product the network is linear, so these sum to the
    difference of the two logits: each is the gradient times the term's value."""
    kernel = weights["hidden_kernel"][columns]
    active = values @ kernel + weights["hidden_bias"] > 0
    outward = weights["kernel"][: len(active)]
    direction = (outward[:, first] - outward[:, second]) * active
    rest = weights["bias"][first] - weights["bias"][second] + weights["hidden_bias"] @ direction
    return values * (kernel @ direction), float(rest)
