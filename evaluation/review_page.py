"""The page for review: the products that --apply left to a person, to choose categories for.

In: what an experiment has filed in crawl.db, its model, and the pictures' folder. Out: HTML with
the three likeliest categories of each product, and the reason why it was not filed.

    python analyze.py --review 1 -o review.html
    python analyze.py --review 1 --part 1/2 -o first.html
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import db
from common.terminal import counted, log
from evaluation import (
    catalogue_queries,
    decision_queries,
    filing_queries,
    filing_source_queries,
    html_pages,
    kept_answer_queries,
    product_view,
    review_queries,
)
from evaluation.product_view import page_text
from learning import category_changes, split

ABOVE = " > "  # stands between the levels of a path


def review_page(
    conn: sqlite3.Connection,
    number: int,
    images_path: str,
    db_path: str,
    top: int = 500,
    surest_first: bool = False,
    part: tuple[int, int] | None = None,
    unclear: bool = False,
) -> str:
    """HTML of `top` products that an experiment's --apply has left to a person or filed at the
    parent only: the least sure first, or the surest. `part` (k, n) is the k-th of n pages that have
    no product in common. What a person has called unclear is there only if `unclear`. Raises
    UserError if there is no such experiment."""
    experiment = db.experiment_row(conn, number)
    paths, decisions = html_pages.page_paths(conn), decision_queries.overrides(conn)
    left = review_queries.products_left(conn, number, surest_first, unclear)
    chosen, in_all = choose_products(left, top, part)
    model = product_view.text_model(conn, db_path, number)
    products = views(conn, number, chosen, model, decisions, paths, images_path)
    html_pages.warn_missing_pictures(products, images_path)
    counts = filing_queries.count_levels(conn, number)
    log(
        f"{len(products):,} of {counted(in_all, 'product')} left to a person or filed at the parent"
        if counts
        else f"experiment {number} has filed nothing yet: run its classifier with --apply {number}"
    )
    shops, database = filing_source_queries.kept_filing(conn, number), page_text(str(db_path), 200)
    first_choices = [product["suggestion"] for product in products if product["suggestion"]]
    return html_pages.render(
        "review.html",
        script_data(conn, number, in_all, decisions, paths, db_path),
        products,
        number=number,
        name=page_text(experiment["name"], 300),
        counts=counts,
        predictions=html_pages.filter_options(first_choices, paths),
        parents=html_pages.filter_options((product["raw_parent"] for product in products), paths),
        words=model is not None,
        surest=surest_first,
        part=part,
        unclear=0 if unclear else review_queries.count_dismissed(conn, number),
        known=len(db.settings(experiment).get("categories") or ()),
        database=database,
        shops=[reason for reason in map(shop_reason, shops.values()) if reason],
        marks=("filed by hand", "unclear"),
    )


def script_data(
    conn: sqlite3.Connection,
    number: int,
    in_all: int,
    decisions: Mapping[int, sqlite3.Row],
    paths: Mapping[str, str],
    db_path: str,
) -> dict[str, Any]:
    """What the page's script reads beside the products, of which there are `in_all`."""
    date = db.experiment_row(conn, number)["date"]
    return {
        "key": html_pages.page_key("review", number, date, db_path),
        "word": "product",
        "puts": "filed by hand",
        "database": page_text(str(db_path), 200),
        "decided": html_pages.decided_before(conn, number, decisions),
        "all": in_all,
        "start": None,
        "n": 0,
        "steps": [],
        "leaves": html_pages.leaf_options(conn, number, paths),
    }


def choose_products(
    left: Iterable[tuple[int, str]], most: int, part: tuple[int, int] | None
) -> tuple[list[tuple[int, str]], int]:
    """(the first `most` of review_queries.products_left, how many there are), or those of a part of
    it. A group stands as a whole where its first product does, so the last one may make a few
    products more of it; at most twice as many."""
    groups: dict[str, list[tuple[int, str]]] = {}  # the first ones, in order
    in_all = 0
    for product, group in left:
        if part and not in_part(group, part):
            continue
        in_all += 1
        if group in groups or len(groups) < most:
            members = groups.setdefault(group, [])
            if len(members) < 2 * most:
                members.append((product, group))
    chosen: list[tuple[int, str]] = []
    for members in groups.values():
        if len(chosen) < most:
            chosen += members
    return chosen[: 2 * most], in_all


def in_part(group: str, part: tuple[int, int]) -> bool:
    """Whether a group is in part (k, n): by its key, so that it stays there when others come."""
    which, parts = part
    return int(split.split_position(f"part {group}") * parts) == which - 1


def views(
    conn: sqlite3.Connection,
    number: int,
    chosen: Sequence[tuple[int, str]],
    model: product_view.TextModel | None,
    decisions: Mapping[int, sqlite3.Row],
    paths: Mapping[str, str],
    images_path: str,
) -> list[dict[str, Any]]:
    """review_view of each product of choose_products, and its `group`: a number, or None if no
    other product of the page is in it, with group_size."""
    there = catalogue_queries.places_today(conn, number)
    today = category_changes.classes_today(conn, number)
    shops = filing_source_queries.kept_filing(conn, number)
    rows = review_queries.product_rows(conn, number, [product for product, _ in chosen])
    sizes = Counter(group for _, group in chosen)
    numbers = {group: i for i, group in enumerate(sizes, 1)}
    products = []
    for product, group in chosen:
        top = kept_answer_queries.best(rows[product]["top"], number)
        answered = {**dict(rows[product]), "top": top}
        view = review_view(answered, model, decisions, paths, images_path, shops, there, today)
        size = sizes[group]
        products.append({**view, "group": numbers[group] if size > 1 else None, "group_size": size})
    return products


def review_view(
    row: dict[str, Any],
    model: product_view.TextModel | None,
    decisions: Mapping[int, sqlite3.Row],
    paths: Mapping[str, str],
    images_path: str,
    shops: Mapping[str, Mapping[str, Any]],
    there: Mapping[str, int],
    today: Mapping[str, str | None],
) -> dict[str, Any]:
    """What the page shows of a product, a row of review_queries.product_rows with its `top` read.

    It offers the three likeliest categories of `offered_categories`. The first is proposed if it is
    the model's first. `there` is catalogue_queries.places_today, shops are `kept_filing`, and
    `today` category_changes.classes_today, by which all categories are those of today.
    """
    top = row["top"]
    row["refused"] = [today.get(own) or own for own in json.loads(row["refused"])]
    likeliest = category_changes.likeliest_today(top, today)
    offered = offered_categories(likeliest, row, there, paths)[:3]
    loud = (
        product_view.loud_terms(model, {**row, **in_words_of(top, offered, today)})
        if model
        else set()
    )
    row["predicted"] = offered[0][0] if offered else None
    for level in ("leaf_id", "parent_id"):
        row[level] = today.get(row[level]) or row[level]
    row["parent"] = row["parent_id"]
    badges = []
    if not top:
        badges.append("nothing to go by")
    if row["level"] == "parent":
        badges.append("filed at the parent")
    view = product_view.product_parts(
        row, loud, badges, decisions.get(row["id"]), paths, images_path
    )
    suggestions = [(leaf, path_of(leaf, paths), score) for leaf, score in offered]
    return {
        **view,
        "raw_parent": row["parent"],
        "proposed": today.get(top[0][0], top[0][0]) in dict(offered[:1]) if top else not offered,
        "why": why_unfiled(row, shops.get(row["source"] or ""), there, paths),
        "suggestions": suggestions,
    }


def offered_categories(
    likeliest: Iterable[tuple[str, float]],
    row: Mapping[str, Any],
    there: Mapping[str, int],
    paths: Mapping[str, str],
) -> list[tuple[str, float]]:
    """Of the categories that the model thinks likeliest, with their scores, those that a person may
    choose: they are there today, the product does not stand at them already, and no answer of an
    audit has called them, or what is above them, wrong."""
    wrong = tuple(path_of(category, paths) + ABOVE for category in row["refused"])
    return [
        (leaf, score)
        for leaf, score in likeliest
        if there.get(leaf)
        and leaf != row["category_id"]
        and not (path_of(leaf, paths) + ABOVE).startswith(wrong)
    ]


def in_words_of(
    top: Sequence[Sequence[Any]],
    offered: Sequence[tuple[str, float]],
    today: Mapping[str, str | None],
) -> dict[str, str | None]:
    """{predicted, label}: the model's own ids of the first two categories that are offered; the
    words that are marked speak for the first and against the second."""
    own_ids = [
        next(leaf for leaf, _ in top if today.get(leaf, leaf) == category)
        for category, _ in offered[:2]
    ]
    first, second = [*own_ids, None, None][:2]
    return {"predicted": first, "label": second}


# ---- why a product was not filed ----------------------------------------------------------------


def shop_reason(shop: Mapping[str, Any]) -> str | None:
    """Why less of a shop was filed than is promised, a sentence; None if all was filed that is
    promised. shop is a row of filing_source_queries.kept_filing."""
    levels, reasons = shop["refused"], shop["reasons"]
    if not levels or not reasons:
        return None
    return page_text(
        f"The products of {shop['source']} differ from those that the promise rests on, so none "
        f"of them was filed at the {' or at the '.join(levels)}: "
        f"{'; '.join(reasons)}.",
        1000,
    )


def why_unfiled(
    row: Mapping[str, Any],
    shop: Mapping[str, Any] | None,
    there: Mapping[str, int],
    paths: Mapping[str, str],
) -> str:
    """Why a product, a row of review_queries.product_rows, lacks a leaf, a sentence; "" if that
    is not known, because an older version filed it. shop is its row of `kept_filing`
    or None, there is catalogue_queries.places_today, paths are html_pages.page_paths."""
    if row["refused"] and row["level"] == "person":
        wrong = " and at ".join(path_of(own, paths) for own in row["refused"])
        return f"Not filed: in the audit a person called it wrong at {wrong}."
    if not row["top"]:
        return "Not filed: there is no word that the model knows, and no picture."
    if shop is None:
        return ""
    if row["level"] == "parent":
        start, reasons = "Filed at the parent only: ", [why_not_at("leaf", row, shop, there, paths)]
    else:
        start, reasons = (
            "Not filed: ",
            [why_not_at(level, row, shop, there, paths) for level in ("leaf", "parent")],
        )
    known = [reason for reason in reasons if reason]
    return f"{start}{', and '.join(known)}." if known else ""


def why_not_at(
    level: str,
    row: Mapping[str, Any],
    shop: Mapping[str, Any],
    there: Mapping[str, int],
    paths: Mapping[str, str],
) -> str | None:
    """Why a product was not filed at this level, leaf or parent; None if that is not known. The
    arguments are those of why_unfiled."""
    category, target = row[f"{level}_id"], f"{100 * shop['target']:g} %"
    score = row["score"] if level == "leaf" else row["parent_score"]
    if category not in there or level == "leaf" and not there[category]:
        return f"its {level} {path_of(category, paths)} is not there any more or is empty"
    shut = shut_leaves(shop)
    if level == "leaf" and category in shut:
        return shut_reason(category, shut, shop, paths)
    if level in shop["refused"]:
        return f"at the {level} nothing of its shop was filed (see above)"
    if shop[level] is None:
        return f"nothing is promised at the {level} for {target}"
    if score >= shop[level]:
        return shut_reason(category, shut, shop, paths)
    which = "its score" if level == "leaf" else "its parent's score"
    low, high = distinct_texts(score, shop[level])
    return f"{which} {low} is below the {high} that the {level} needs for {target}"


def path_of(category: str, paths: Mapping[str, str]) -> str:
    """A category as a page calls it: by its path, or its id if there is no such category."""
    return paths.get(category, page_text(category, 200))


def shut_leaves(shop: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{leaf: floors.named} of the leaves that were shut; {} if an older version filed them."""
    return {leaf["category"]: leaf for leaf in shop["shut"]}


def shut_reason(
    category: str,
    shut: Mapping[str, Mapping[str, Any]],
    shop: Mapping[str, Any],
    paths: Mapping[str, str],
) -> str | None:
    """Why nothing is filed at a leaf that is shut; None for another. A leaf without a parent is
    shut as its own parent too."""
    if category not in shut:
        return None
    leaf = shut[category]
    return (
        f"its leaf {path_of(category, paths)} is shut: of {leaf['accepted']:,} accepted there "
        f"{leaf['right']:,} were right, and the floor is {100 * shop['floor']:g} %"
    )


def distinct_texts(low: float, high: float) -> tuple[str, str]:
    """Two scores, low below high, as texts with as few digits as tell them apart."""
    for digits in range(2, 17):
        texts = f"{low:.{digits}f}", f"{high:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts
