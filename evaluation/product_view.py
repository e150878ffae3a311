"""What a product looks like on a page: a small picture, its texts, the words that spoke.

In: rows of crawl.db, the folder of pictures, an experiment's model. Out: plain text in pieces and
data URIs, nothing that a browser would run or fetch. html_pages.py puts them into its pages:

    python analyze.py --dump-errors-for-experiment 1 -o errors.html
    python analyze.py --review 1 -o review.html
"""
import base64
import html
import io
import os
import re
import unicodedata

from learning import model_folders, saved_models, text_features

THUMBNAIL = (160, 205)   # pixels at the most
LONGEST = 3000           # characters of a description that are shown
MARKED = 8               # words of a product, at the most
BREAK = re.compile(r"<(?:/?(?:p|div|ul|ol|li|h[1-6]|tr|table|dl|dt|dd)|br ?/?)(?:\s[^<>]*)?>", re.I)
FORMING = re.compile(r"</?(?:b|i|u|a|em|strong|span|font|small|sup|sub|td|th|tbody|thead|center)"
                     r"(?:\s[^<>]*)?>", re.I)


# ---- pictures and text --------------------------------------------------------------------------

def thumbnail(path):
    """A picture's data URI, small; None where there is no file that can be read, or a huge one."""
    from common import pictures  # late: Pillow takes a tenth of a second
    try:
        with open(path, "rb") as file:
            data = file.read()
        with pictures.opened(data) as picture:
            small = pictures.upright_rgb(picture, THUMBNAIL)
        small.thumbnail(THUMBNAIL)
        jpeg = io.BytesIO()
        small.save(jpeg, "JPEG", quality=75)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()
    except Exception:   # there is no file, or Pillow raises whatever comes up
        return None


def picture_of(row, images_path):
    """{file, picture, link} of a product: its file under images_path, that as a data URI, and else
    a link to the shop's; each may be None."""
    folder, file = os.path.realpath(images_path), None
    if row["picture"]:
        path = os.path.join(images_path, row["picture"])
        if "\0" not in path and os.path.commonpath([folder, os.path.realpath(path)]) == folder:
            file = path
    picture = file and thumbnail(file)
    return {"file": file, "picture": picture,
            "link": None if picture else web_address(row["image"])}


def web_address(link):
    """The link where a browser may follow it to a shop, else None."""
    return link if (link or "").lower().startswith(("http://", "https://")) else None


def shown(text, most=LONGEST):
    """Text as the page shows it: cut where it is very long, control characters as their pictures,
    and marks that turn the direction of writing left out."""
    text = text or ""
    more = f" ... ({len(text) - most:,} characters more)" if len(text) > most else ""
    kept = []
    for letter in text[:most]:
        if letter in "\n\t":
            kept.append(letter)
        elif letter < " ":
            kept.append(chr(0x2400 + ord(letter)))
        elif unicodedata.category(letter) not in ("Cc", "Cs") and letter not in \
                "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
            kept.append(letter)
    return "".join(kept) + more


def readable(text):
    """A description for reading: entities read once, what only forms text left out. Anything else
    that looks like markup is shown as it stands."""
    if not text or not ("<" in text or "&" in text):
        return text
    text = BREAK.sub("\n", html.unescape(text))
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[ \t]+", " ", FORMING.sub(" ", text))).strip()


# ---- the words that spoke for a prediction ------------------------------------------------------

def text_model(db_path, number):
    """(weights, description) of the experiment's model of words; None where it has none."""
    folder = os.path.join(model_folders.models_folder(db_path), f"experiment-{number}")
    try:
        weights, described = saved_models.load_model(folder)
        if "fusion" in weights:   # of two networks the one of words
            weights = {name[5:]: value for name, value in weights.items()
                       if name.startswith("text_")}
        described["vocabulary"], weights["hidden_kernel"]
    except Exception:   # deleted or damaged: the page is worth having without
        return None
    described["lexicon"] = text_features.make_lexicon(described, weights)
    described["leaves"] = {leaf: place for place, leaf in enumerate(described["categories"])}
    return weights, described


def loud_terms(model, row):
    """The terms of a product that spoke loudest for the predicted category and against the label:
    words as (word,) and pairs of words in a row as (word, word), MARKED of them at the most. Empty
    where the model can't tell."""
    weights, described = model
    pair = [described["leaves"].get(row[name]) for name in ("predicted", "label")]
    if None in pair:
        return set()
    columns, values = text_features.one_text(described, weights, row["name"] or "",
                                             row["description"] or "", described["lexicon"])
    said, _ = text_features.contributions(weights, columns, values, *pair)
    found = {}   # in logits; what a word says in a name, it says beside what it says anywhere
    for column, one in zip(columns.tolist(), said.tolist()):
        own = tuple(described["vocabulary"][column].removeprefix("name:").split(" "))
        found[own] = found.get(own, 0.0) + one
    least = max(found.values(), default=0) / 5   # or every "and" that spoke a little were marked
    loudest = sorted(found, key=found.get, reverse=True)[:MARKED]
    return {own for own in loudest if found[own] > max(0, least)}


def marked(text, loud):
    """The text in pieces (piece, whether it is marked): where the terms `loud` stand."""
    if not loud:
        return [(text, False)] if text else []
    pieces = re.split(r"(\s+)", text)
    places, own = [], []   # the piece of each word, and the words
    for place, piece in enumerate(pieces):
        for word in text_features.tokens(piece):
            places.append(place)
            own.append(word)
    marks = {place for place, word in zip(places, own) if (word,) in loud}
    for first, last, term in zip(places, places[1:], zip(own, own[1:])):
        if term in loud:
            marks.update(range(first, last + 1))   # with the blank between them
    found = []
    for place, piece in enumerate(pieces):
        if found and found[-1][1] == (place in marks):
            found[-1] = (found[-1][0] + piece, found[-1][1])
        elif piece:
            found.append((piece, place in marks))
    return found


# ---- all of it ----------------------------------------------------------------------------------

def product(row, loud, badges, decision, paths, images_path):
    """What both pages show of a product, a dict of a row with id, source, external_id, name,
    description, image, picture, predicted, parent and score, and what the script reads of it; loud
    are the terms to mark, decision a person's row or None."""
    holds = decision is not None and decision["holds"]
    own = picture_of(row, images_path)
    there = own["picture"] or own["link"]
    put = (decision["category_id"] or "") if holds else ""
    return {**own, "id": row["id"], "external_id": shown(row["external_id"], 100),
            "name": marked(shown(row["name"], 500), loud),
            "description": marked(shown(readable(row["description"])), loud),
            "badges": badges + ["no picture"] * (not there),
            # What goes back by --overrides is the id itself.
            "raw_source": row["source"] or "", "raw_external": row["external_id"] or "",
            "suggestion": row["predicted"] or "", "predicted": shown(row["predicted"], 200),
            "predicted_path": paths.get(row["predicted"], shown(row["predicted"], 200)),
            "score": row["score"] or 0.0, "parent": shown(row["parent"], 200),
            "decided": f"decided before: {decision['decision']}"
            + f", it belongs in {paths.get(put, shown(put, 200))}" * bool(put) if holds else ""}
