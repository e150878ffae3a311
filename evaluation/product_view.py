"""What a product looks like on a page: a small picture, its texts, the words behind a prediction.

In: rows of crawl.db, the folder of pictures, an experiment's model. Out: plain text in pieces and
data URIs, nothing that a browser would run or fetch. html_pages.py puts them into its pages:

    python analyze.py --dump-errors-for-experiment 1 -o errors.html
    python analyze.py --review 1 -o review.html
"""

from __future__ import annotations

import base64
import io
import os
import re
import sqlite3
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

import db
from common.terminal import UserError, log
from common.text import unescaped
from learning import lexicons, model_folders, saved_models, text_features

THUMBNAIL = (160, 205)  # pixels at most
LONGEST = 3000  # characters of a description that are shown
MARKED = 8  # terms of a product at most
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # of writing
BREAK = re.compile(r"<(?:/?(?:p|div|ul|ol|li|h[1-6]|tr|table|dl|dt|dd)|br ?/?)(?:\s[^<>]*)?>", re.I)
FORMING = re.compile(
    r"</?(?:b|i|u|a|em|strong|span|font|small|sup|sub|td|th|tbody|thead|center)"
    r"(?:\s[^<>]*)?>",
    re.I,
)

Row = sqlite3.Row | Mapping[str, Any]
TextModel = tuple[dict[str, NDArray[Any]], dict[str, Any]]  # weights, description
Term = tuple[str, ...]  # a word, or a pair of words in a row


# ---- pictures and text --------------------------------------------------------------------------


def thumbnail(path: str) -> str | None:
    """A picture's data URI, small; None if the file is not there, can't be read, or is huge."""
    from common import pictures  # late: Pillow takes a tenth of a second

    try:
        with (
            pictures.quietly(),
            open(path, "rb") as file,
            pictures.held(file) as data,
            pictures.opened(data) as picture,
        ):
            small = pictures.upright_rgb(picture, THUMBNAIL)
            small.thumbnail(THUMBNAIL)
        jpeg = io.BytesIO()
        small.save(jpeg, "JPEG", quality=75)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()
    except Exception:  # there is no file, or Pillow raises an error of any kind
        return None


def picture_of(row: Row, images_path: str) -> dict[str, str | None]:
    """{file, picture, link} of a product: its file under images_path, that as a data URI, and if
    there is none, a link to the shop's picture; each may be None."""
    folder, file = os.path.realpath(images_path), None
    if row["picture"]:
        path = os.path.join(images_path, row["picture"])
        if "\0" not in path and os.path.commonpath([folder, os.path.realpath(path)]) == folder:
            file = path
    picture = file and thumbnail(file)
    return {
        "file": file,
        "picture": picture,
        "link": None if picture else web_address(row["image"]),
    }


def web_address(link: str | None) -> str | None:
    """The link if a browser may follow it to a shop, else None."""
    return link if link and link.lower().startswith(("http://", "https://")) else None


def page_text(text: str | None, most: int = LONGEST) -> str:
    """Text as a page shows it: cut if it is very long, control characters as their pictures, and
    without marks that turn the direction of writing."""
    text = text or ""
    more = f" ... ({len(text) - most:,} characters more)" if len(text) > most else ""
    kept = []
    for letter in text[:most]:
        if letter in "\n\t":
            kept.append(letter)
        elif letter < " ":
            kept.append(chr(0x2400 + ord(letter)))
        elif unicodedata.category(letter) not in ("Cc", "Cs") and letter not in DIRECTIONS:
            kept.append(letter)
    return "".join(kept) + more


def readable(text: str | None) -> str | None:
    """A description for reading: entities decoded once, tags that only format text left out.
    Anything else that looks like markup is shown as it stands."""
    if not text or not ("<" in text or "&" in text):
        return text
    text = BREAK.sub("\n", unescaped(text))
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[ \t]+", " ", FORMING.sub(" ", text))).strip()


# ---- the words behind a prediction --------------------------------------------------------------


def text_model(conn: sqlite3.Connection, db_path: str, number: int) -> TextModel | None:
    """(weights, description) of the experiment's model of words; None if it has none. One that is
    damaged is left out with a warning: the page is useful without it."""
    folder = os.path.join(model_folders.models_folder(db_path), f"experiment-{number}")
    if not os.path.isdir(folder):
        return None
    try:
        known = db.settings(db.experiment_row(conn, number)).get("model")
        weights, described = saved_models.load_model(folder, known)
    except UserError as error:
        log(f"warning: no words are marked on the page, because {error}")
        return None
    if "Text" not in described["kind"]:
        return None
    weights = text_features.words_weights(weights)
    described["lexicon"] = lexicons.make_lexicon(described, weights)
    described["leaves"] = {leaf: code for code, leaf in enumerate(described["categories"])}
    return weights, described


def loud_terms(model: TextModel, row: Row) -> set[Term]:
    """The terms of a product that speak most for the predicted category and against the label:
    words as (word,) and pairs of words in a row as (word, word), MARKED of them at most. Empty if
    the model can't tell."""
    weights, described = model
    categories = [described["leaves"].get(row[name]) for name in ("predicted", "label")]
    if None in categories:
        return set()
    columns, values = lexicons.one_text(
        described, weights, row["name"] or "", row["description"] or "", described["lexicon"]
    )
    logits, _ = text_features.contributions(weights, columns, values, *categories)
    said: dict[Term, float] = {}  # a word in the name counts there and as a word anywhere
    for column, logit in zip(columns.tolist(), logits.tolist()):
        term = tuple(described["vocabulary"][column].removeprefix("name:").split(" "))
        said[term] = said.get(term, 0.0) + logit
    # Without a lower bound every "and" that speaks a little would be marked.
    least = max(said.values(), default=0) / 5
    loudest = sorted(said, key=lambda term: said[term], reverse=True)[:MARKED]
    return {term for term in loudest if said[term] > max(0, least)}


def marked(text: str, loud: Collection[Term]) -> list[tuple[str, bool]]:
    """The text in pieces (piece, whether it is marked). The terms `loud` are marked."""
    if not loud:
        return [(text, False)] if text else []
    pieces = re.split(r"(\s+)", text)
    marks = marked_pieces(pieces, loud)
    merged: list[tuple[str, bool]] = []
    for i, piece in enumerate(pieces):
        if merged and merged[-1][1] == (i in marks):
            merged[-1] = (merged[-1][0] + piece, merged[-1][1])
        elif piece:
            merged.append((piece, i in marks))
    return merged


def marked_pieces(pieces: Sequence[str], loud: Collection[Term]) -> set[int]:
    """The numbers of the pieces, words and the blanks between them, that hold a term of `loud`."""
    piece_of_word, words = [], []
    for i, piece in enumerate(pieces):
        for word in text_features.tokens(piece):
            piece_of_word.append(i)
            words.append(word)
    marks = {i for i, word in zip(piece_of_word, words) if (word,) in loud}
    for first, last, term in zip(piece_of_word, piece_of_word[1:], zip(words, words[1:])):
        if term in loud:
            marks.update(range(first, last + 1))  # with the blank between them
    return marks


# ---- all of it ----------------------------------------------------------------------------------


def product_parts(
    row: Row,
    loud: Collection[Term],
    badges: Sequence[str],
    decision: sqlite3.Row | None,
    paths: Mapping[str, str],
    images_path: str,
) -> dict[str, Any]:
    """What both pages show of a product, and what their script reads of it, as a dict.

    The row has id, source, external_id, name, description, image, picture, predicted, parent and
    score; loud are the terms to mark, decision is a person's row or None, paths are
    category_tree.readable_paths.
    """
    picture = picture_of(row, images_path)
    badges = list(badges)
    if not (picture["picture"] or picture["link"]):
        badges.append("no picture")
    return {
        **picture,
        "id": row["id"],
        "external_id": page_text(row["external_id"], 100),
        "name": marked(page_text(row["name"], 500), loud),
        "description": marked(page_text(readable(row["description"])), loud),
        "badges": badges,
        # What goes back by --overrides is the id itself.
        "raw_source": row["source"] or "",
        "raw_external": row["external_id"] or "",
        "suggestion": row["predicted"] or "",
        "predicted": page_text(row["predicted"], 200),
        "predicted_path": paths.get(row["predicted"], page_text(row["predicted"], 200)),
        "score": row["score"] or 0.0,
        "parent": page_text(row["parent"], 200),
        "decided": decided_text(decision, paths),
        "group": None,  # a number that those share that are decided at once
        "group_size": 1,
    }


def decided_text(decision: sqlite3.Row | None, paths: Mapping[str, str]) -> str:
    """What a person decided before, in words; empty if nothing that still holds."""
    if decision is None or not decision["holds"]:
        return ""
    text = f"decided before: {decision['decision']}"
    category = decision["category_id"]
    if category:
        text += f", it belongs in {paths.get(category, page_text(category, 200))}"
    return text
