"""What the HTML pages have in common: each is one file that needs no network.

In: the parts of a page, and what its script reads. Out: HTML, and a file of it. error_page.py and
review_page.py make the pages; what a person decides there goes back by `analyze.py --overrides`.

    python analyze.py --dump-errors-for-experiment 1 --top 50 -o errors.html
    python analyze.py --review 1 -o review.html
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import db
from common.files import replacing
from common.terminal import UserError, log
from common.text import FORMULA, UNSEEN, UNSEEN_LETTER
from evaluation import catalogue_queries
from evaluation.product_view import page_text
from learning import category_changes, category_tree

# Decisions as the script knows them: (decision, category, the label it is about, whether it holds).
Decided = dict[int, tuple[str, str, str, bool]]
SCRIPTS = (  # one script of a page, in this order
    "picker.js",
    "marks.js",
    "undo.js",
    "bar.js",
    "slider.js",
    "filters.js",
    "walk.js",
    "typed.js",
    "page.js",
)


# ---- parts --------------------------------------------------------------------------------------


def page_paths(conn: sqlite3.Connection) -> dict[str, str]:
    """{category id: its path in the shop's words, as a page shows it}."""
    return category_tree.readable_paths(conn, lambda name: page_text(name, 200))


def paths_then(
    conn: sqlite3.Connection, number: int, paths: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str | None]]:
    """(paths as page_paths gives them, of the categories as experiment `number` calls them;
    category_changes.classes_today). If --recategorize has changed a category since, both of its
    paths are there, so that a browser finds it by either."""
    today = category_changes.classes_today(conn, number)
    if not today:
        return dict(paths), {}
    then = category_tree.readable_paths(
        conn,
        lambda name: page_text(name, 200),
        category_changes.categories_then(conn, category_changes.seen_by(conn, number)),
    )
    changed = {}
    for category, now in today.items():
        path = then.get(category, page_text(category, 200))
        if now is None:
            changed[category] = f"{path}, no category any more"
        else:
            changed[category] = f"{path}, now {paths.get(now, page_text(now, 200))}"
    return {**paths, **changed}, today


def leaf_options(
    conn: sqlite3.Connection, number: int, paths: Mapping[str, str]
) -> list[tuple[str, str]]:
    """[(id, path)] of the categories that a person may choose for products of experiment `number`:
    its classes, of which an inner one needs products of its own."""
    rule, there = (
        catalogue_queries.rule_of(conn, number),
        catalogue_queries.places_today(conn, number),
    )
    classes = category_tree.counts_as(conn, rule)
    return [
        (row["id"], paths[row["id"]])
        for row in db.categories(conn)
        if classes.get(row["id"]) == row["id"]
        and (row["leaf"] or len(category_tree.levels(row)) == rule.depth or there.get(row["id"]))
    ]


def filter_options(
    categories: Iterable[str | None], paths: Mapping[str, str]
) -> list[tuple[str, str]]:
    """[(category id as the page has it, its path)] of category ids, by path, for a filter."""
    texts = {category: page_text(category, 200) for category in categories}
    options = {(text, paths.get(category or "", text)) for category, text in texts.items()}
    return sorted(options, key=lambda option: option[::-1])


def in_tree(options: Iterable[tuple[str, str]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """[(path of what is above, [(value, last part of the path)])] of filter_options, so that a
    filter shows a tree and no flat list. A category that has changed (paths_then) stays whole."""
    branches: dict[str, list[tuple[str, str]]] = {}
    for value, path in options:
        above, _, last = ("", "", path) if ", now " in path else path.rpartition(" > ")
        branches.setdefault(above, []).append((value, last))
    return list(branches.items())


def decided_before(
    conn: sqlite3.Connection, number: int, decisions: Mapping[int, sqlite3.Row]
) -> Decided:
    """{product id: Decided} of decision_queries.overrides, by which the script knows what the database has
    already. A label is the class that it counts as in experiment `number`, as the page shows it."""
    classes = category_tree.counts_as(conn, catalogue_queries.rule_of(conn, number))
    return {
        number: (
            row["decision"],
            row["category_id"] or "",
            page_text(classes.get(row["label_id"], row["label_id"]), 200),
            bool(row["holds"]),
        )
        for number, row in decisions.items()
    }


def page_key(kind: str, number: int, date: str | None, db_path: str) -> str:
    """The key under which a browser keeps a page's decisions. Another catalogue has another key."""
    identity = f"{kind} {number} {date} {os.path.realpath(db_path)}"
    return f"{kind} {hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def warn_missing_pictures(products: Sequence[Mapping[str, Any]], images_path: str) -> None:
    """Say so if not a single one of the pictures is in images_path."""
    exist = [os.path.exists(product["file"]) for product in products if product["file"]]
    if exist and not any(exist):
        log(
            f"none of {len(exist)} pictures is in {images_path}: name their folder with "
            "--images-path"
        )


# ---- making a page ------------------------------------------------------------------------------


def render(
    template: str, data: Mapping[str, Any], products: Sequence[Mapping[str, Any]], **values: Any
) -> str:
    """A page from a template: one file that holds its style and its script, and that may run and
    show nothing else. `data` is what the script reads beside the products, `values` are what the
    template reads."""
    import jinja2  # late: most calls of analyze.py make no page

    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "templates")
    # autoescape=True, because select_autoescape goes by file names and misses some.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["in_tree"] = in_tree
    style = template_text(os.path.join(folder, "page.css"))
    script = "\n".join(template_text(os.path.join(folder, name)) for name in SCRIPTS)
    policy = [
        "default-src 'none'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        f"style-src '{fingerprint(style)}'",
        f"script-src '{fingerprint(script)}'",
    ]
    counts = Counter(badge for product in products for badge in product["badges"])
    telling = sorted(badge for badge in counts if counts[badge] < len(products))  # not all have it
    page = environment.get_template(template).render(
        products=products,
        style=style,
        script=script,
        data=script_json(data, products),
        badges=[(badge, badge) for badge in telling],
        pictures=any(product["picture"] or product["link"] for product in products),
        policy="; ".join(policy),
        **values,
    )
    return "\n".join(UNSEEN_LETTER.sub(reference, line) for line in page.split("\n"))


def reference(letter: re.Match[str]) -> str:
    """HTML for a character that would steer a terminal to which a page is printed. It has none for
    U+0080 to U+009F."""
    return " " if "\x80" <= letter[0] <= "\x9f" else f"&#{ord(letter[0])};"


def template_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def script_json(data: Mapping[str, Any], products: Sequence[Mapping[str, Any]]) -> str:
    """JSON of `data` for a script element. What could end the element is written as escapes."""
    page = {"rows": len(products), "made": page_version(data, products)}
    cells = {"unseen": UNSEEN, "formula": FORMULA}  # for the file that the page saves
    text = json.dumps({**data, **page, **cells})
    return re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def page_version(data: Mapping[str, Any], products: Sequence[Mapping[str, Any]]) -> str:
    """What tells a page from the one before: which products it has, and what is decided."""
    content = json.dumps([[product["id"] for product in products], data["decided"]])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def fingerprint(text: str) -> str:
    """The name that a Content-Security-Policy has for an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# ---- saving a page ------------------------------------------------------------------------------


def save_page(path: str, text: str) -> None:
    """Write a page to a file, whole or not at all. Raises UserError if the file can't be written,
    or holds something else than a page."""
    target = os.path.realpath(path)  # a link stays one
    try:
        if os.path.isfile(target) and not is_page(target):
            raise UserError(
                f"--output {path} is no HTML page, and is not replaced: name another file"
            )
        if os.path.exists(path) and not os.path.isfile(target):
            write_text(path, text)  # a pipe or a device is written into, not replaced
        else:
            with replacing(target) as beside:
                write_text(beside, text)
                if os.path.isfile(target):
                    os.chmod(beside, os.stat(target).st_mode & 0o777)
    except OSError as error:
        raise UserError(
            f"--output {path} can't be written ({error.strerror}): name another"
        ) from None


def is_page(path: str) -> bool:
    """Whether a file is empty or begins as HTML does."""
    with open(path, "rb") as file:
        return file.read(100).lstrip()[:5].lower() in (b"", b"<!doc", b"<html")


def write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")
