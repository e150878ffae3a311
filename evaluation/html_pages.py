"""The pages of errors and of what is left to a person: each one HTML file that needs no network.

In: an experiment of crawl.db, its model, and the pictures' folder. Out: HTML with all that was
measured, a slider over thresholds and the wrong predictions with the highest scores, for a person
to judge; or the products that nobody has filed, to choose categories for. What is decided there
goes back by `analyze.py --overrides`.

    python analyze.py --dump-errors-for-experiment 1 --top 50 -o errors.html
    python analyze.py --review 1 -o review.html
"""
import base64
import hashlib
import json
import math
import os
import re

import numpy as np

import db
from common.terminal import log
from evaluation import figures, filing_queries, product_view, queries
from learning import category_tree, metrics

STEPS = 2000   # of the slider, at the most


# ---- what the pages show ------------------------------------------------------------------------

def error(row, paths, parents, model, suspects, decisions, images_path, there):
    """What the page shows of one wrong prediction, a dict of queries.surest_errors. What the model says
    is proposed as the right category if it is one of the leaves of today (`there`, of
    filing_queries.places_today)."""
    above = {name: parents.get(row[name], row[name]) for name in ("label", "predicted")}
    badges = [name for name, holds in (
        ("same parent", above["label"] == above["predicted"]),
        ("listed there too", row["listed"]), ("suspected label", row["id"] in suspects)) if holds]
    loud = product_view.loud_terms(model, row) if model else set()
    label = product_view.shown(row["label"], 200)
    own = product_view.product({**row, "parent": above["label"]}, loud, badges,
                               decisions.get(row["id"]), paths, images_path)
    if not there.get(row["predicted"]):
        own["suggestion"] = ""
    return {**own, "label": label, "label_path": paths.get(row["label"], label),
            "label_score": row["label_score"]}


def named(some, paths):
    """[(category id as the page has it, its path)] of category ids, by path, for a filter."""
    shown = {own: product_view.shown(own, 200) for own in some}
    return sorted({(text, paths.get(own, text)) for own, text in shown.items()},
                  key=lambda pair: pair[::-1])


def setting(key, value):
    """A setting's value in words; of the categories only how many they are."""
    if key == "categories" and hasattr(value, "__len__"):
        return str(len(value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {own}" for name, own in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def steps(score, right):
    """[(score, accepted, right)] for the slider: what a threshold lets through, at STEPS thresholds
    at the most, from the strictest down; equal scores pass together."""
    order = np.argsort(-score, kind="stable")
    score, right = score[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else score
    if len(last) > STEPS:
        last = last[np.unique(np.linspace(0, len(last) - 1, STEPS).round().astype(int))]
    return [(float(score[i]), int(i) + 1, int(right[i])) for i in last]


def reliability(score, right, bins=15):
    """[(mean score, accuracy, products)] of equal-width bins, empty ones left out."""
    place = np.minimum((np.clip(score, 0, 1) * bins).astype(int), bins - 1)
    return [(float(score[place == one].mean()), float(right[place == one].mean()),
             int((place == one).sum())) for one in range(bins) if (place == one).any()]


def curve(some, n):
    """(the risk-coverage curve as points of an SVG polyline, its floor): coverage from left to
    right, accuracy from `floor` % (50, or 0 where it falls below that) at the bottom to 100 % at
    the top, in units of 1/1000."""
    every = max(1, len(some) // 300)
    points = [*some[::every], some[-1]] if some else []
    floor = 50 if all(right >= accepted / 2 for _, accepted, right in points) else 0
    return " ".join(f"{1000 * accepted / n:.0f},{1e5 * (1 - right / accepted) / (100 - floor):.0f}"
                    for _, accepted, right in points), floor


def error_page(conn, number, images_path, db_path, confidence=.95, top=500, suspects=()):
    """HTML of the wrong predictions of an experiment with the highest scores; suspects are the ids
    of products whose label is probably wrong."""
    found = figures.describe(conn, number, confidence)
    names, rows = figures.read_rows(conn, number)
    right = (rows["label"] >= 0) & (rows["label"] == rows["predicted"])
    paths, parents = shown_paths(conn), category_tree.parents(conn)
    model = product_view.text_model(db_path, number)
    decisions, shop = queries.overrides(conn), product_view.shown(str(db_path), 200)
    pairs = [{**pair, "categories": [paths.get(own, product_view.shown(own, 200))
                                     for own in pair["categories"]]}
             for pair in found["confusions"][:10]]
    raw = [dict(row) for row in queries.surest_errors(conn, number, top)]
    there = filing_queries.places_today(conn)
    errors = [error(row, paths, parents, model, suspects, decisions, images_path, there)
              for row in raw]
    tell_missing(errors, images_path)
    slider = steps(rows["score"], right)
    points, floor = curve(slider, len(rows))
    dots = [dot(rows["score"], right, target, floor) for target in figures.TARGETS]
    wrong = int((~right).sum())
    certified, = (own["threshold"] for own in found["coverage"]
                  if (own["level"], own["target"]) == ("leaf", 98))
    data = {"key": page_key("errors", number, found["date"], db_path), "word": "error",
            "puts": "label wrong", "database": shop, "decided": decided_of(decisions), "all": wrong,
            "n": len(rows), "steps": slider,
            "start": certified if math.isfinite(certified) else None}
    return render(
        "errors.html", data, errors, found=found, number=number,
        name=product_view.shown(found["name"], 300), date=product_view.shown(found["date"], 40),
        confusions=pairs, wrong=wrong, curve=points, floor=floor,
        reliability=reliability(rows["score"], right),
        count=len(found["settings"].get("categories") or np.unique(rows["label"])),
        settings=[(product_view.shown(str(key), 100), product_view.shown(setting(key, value), 300))
                  for key, value in found["settings"].items() if key != "calibration"],
        labels=named((row["label"] for row in raw), paths),
        predictions=named((row["predicted"] for row in raw), paths),
        parents=named((row["parent"] for row in errors), paths),
        leaves=leaf_names(conn, paths), marks=queries.DECISIONS[:3], database=shop,
        dots=list(filter(None, dots)), words=model is not None,
        certified=math.isfinite(certified))


def dot(score, right, target, floor):
    """(x, y) on `curve` of the largest coverage with `target` % accuracy; None if there is none."""
    count = metrics.accepted(score, right, target)
    if not count:
        return None
    hits = int(right[np.argsort(-score, kind="stable")[:count]].sum())
    return (round(1000 * count / len(score)),
            round(1e5 * (1 - hits / count) / (100 - floor)))


def decided_of(decisions):
    """{product id: (decision, category, the label it is about as a page shows it, whether it
    holds)} of queries.overrides, by which the script knows what the database has already."""
    return {number: (row["decision"], row["category_id"] or "",
                     product_view.shown(row["label_id"], 200), bool(row["holds"]))
            for number, row in decisions.items()}


def review_page(conn, number, images_path, db_path, top=500, surest=False):
    """HTML of the products that an experiment's --apply has left to a person or filed at the parent
    only, each with those three categories to choose from that the model thinks likeliest of the
    ones that are there today. The first is proposed if it is the model's first."""
    row = db.experiment(conn, number)
    paths, model = shown_paths(conn), product_view.text_model(db_path, number)
    decisions, products = queries.overrides(conn), []
    kept, shop = filing_queries.kept_filing(conn, number), product_view.shown(str(db_path), 200)
    there = filing_queries.places_today(conn)
    for own in map(dict, filing_queries.left_to_person(conn, number, top, surest)):
        top = json.loads(own["top"] or "[]")
        three = [pair for pair in top if there.get(pair[0])][:3]
        own.update(predicted=three[0][0] if three else None, parent=own["parent_id"],
                   label=three[1][0] if len(three) > 1 else None)
        badges = ["nothing to go by"] * (not top) \
            + ["filed at the parent"] * (own["level"] == "parent")
        loud = product_view.loud_terms(model, own) if model else set()
        found = product_view.product(own, loud, badges, decisions.get(own["id"]), paths,
                                     images_path)
        products.append({**found, "raw_parent": own["parent"], "proposed": three[:1] == top[:1],
                         "why": why(own, kept.get(own["source"] or ""), there), "suggestions": [
                             (name, paths.get(name, product_view.shown(name, 200)), score)
                             for name, score in three]})
    tell_missing(products, images_path)
    counts = filing_queries.count_levels(conn, number)
    data = {"key": page_key("review", number, row["date"], db_path), "word": "product",
            "puts": "filed by hand", "database": shop, "decided": decided_of(decisions),
            "all": counts.get("person", 0) + counts.get("parent", 0), "start": None, "n": 0,
            "steps": []}
    return render(
        "review.html", data, products, number=number, name=product_view.shown(row["name"], 300),
        counts=counts, predictions=named(
            filter(None, (own["suggestion"] for own in products)), paths),
        parents=named((own["raw_parent"] for own in products), paths), words=model is not None,
        surest=surest, known=len(db.settings(row).get("categories") or ()), database=shop,
        shops=list(filter(None, map(shop_reason, kept.values()))),
        leaves=leaf_names(conn, paths), marks=("filed by hand", "unclear"))


# ---- why a product was not filed ----------------------------------------------------------------

def shop_reason(filed):
    """Why less of a shop was filed than is promised, a sentence; None if that is not so. `filed` is
    a row of filing_queries.kept_filing."""
    levels, reasons = listed(filed["refused"]), listed(filed["reasons"])
    if not levels or not reasons:
        return None
    return product_view.shown(
        f"The products of {filed['source']} differ from those that the promise rests on, so none "
        f"of them was filed at the {' or at the '.join(levels)}: "
        f"{'; '.join(reasons)}.", 1000)


def listed(text):
    """The texts of a JSON list; [] if it is none."""
    found = json.loads(text or "[]")
    return [str(line) for line in found] if isinstance(found, list) else []


def why(row, filed, there):
    """Why a product, a row of filing_queries.left_to_person, lacks a leaf, a sentence; "" if that is not known:
    an older version filed it. `filed` is its shop's row of filing_queries.kept_filing or None, and `there` is
    filing_queries.places_today."""
    if not json.loads(row["top"] or "[]"):
        return "Not filed: there is no word that the model knows, and no picture."
    if filed is None:
        return ""
    target, parts = f"{100 * filed['target']:g} %", []
    for level, score in (("leaf", row["score"]), ("parent", row["parent_score"])):
        if level == "parent" and row["level"] == "parent":
            continue
        its = "its score" if level == "leaf" else "its parent's score"
        gone = row[f"{level}_id"] not in there or level == "leaf" and not there[row["leaf_id"]]
        if gone:
            name = product_view.shown(row[f"{level}_id"], 200)
            parts.append(f"its {level} {name} is not there any more or is empty")
        elif level in listed(filed["refused"]):
            parts.append(f"at the {level} nothing of its shop was filed (see above)")
        elif filed[level] is None:
            parts.append(f"nothing is promised at the {level} for {target}")
        elif score < filed[level]:
            low, high = apart(score, filed[level])
            parts.append(f"{its} {low} is below the {high} that the {level} needs for {target}")
    start = "Filed at the parent only: " if row["level"] == "parent" else "Not filed: "
    return start + ", and ".join(parts) + "." if parts else ""


def apart(low, high):
    """Two scores, low below high, as texts of so few digits that they still differ."""
    for digits in range(2, 17):
        texts = f"{low:.{digits}f}", f"{high:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts


# ---- making a page ------------------------------------------------------------------------------

def shown_paths(conn):
    return category_tree.readable_paths(conn, lambda name: product_view.shown(name, 200))


def leaf_names(conn, paths):
    """[(id, path)] of all leaves, which a person may choose."""
    return [(row["id"], paths[row["id"]]) for row in db.categories(conn) if row["leaf"]]


def page_key(kind, number, date, db_path):
    """What a browser keeps a page's decisions under: another catalogue's have another key."""
    own = f"{kind} {number} {date} {os.path.realpath(db_path)}"
    return f"{kind} {hashlib.sha256(own.encode()).hexdigest()[:16]}"


def render(template, data, products, **values):
    """A page from a template: one file, with its style and its script in it, that may run and show
    nothing else. `data` is what the script reads beside the products."""
    import jinja2
    markup = jinja2.utils.markupsafe.Markup
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "templates")
    # autoescape as such, because select_autoescape goes by file names and misses some.
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    own = {name: open(os.path.join(folder, f"page.{name}"), encoding="utf-8").read()
           for name in ("css", "js")}
    # JSON in a page: what could end the script element is written as escapes.
    data = re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}",
                  json.dumps({**data, "rows": len(products), "made": made_of(data, products)}))
    badges = sorted({badge for row in products for badge in row["badges"]})
    return environment.get_template(template).render(
        products=products, style=markup(own["css"]), script=markup(own["js"]), data=markup(data),
        badges=[(badge, badge) for badge in badges],
        policy="; ".join(["default-src 'none'", "img-src data:", "base-uri 'none'",
                          "form-action 'none'", f"style-src '{fingerprint(own['css'])}'",
                          f"script-src '{fingerprint(own['js'])}'"]), **values)


def made_of(data, products):
    """What tells a page from the one before: which products it has, and what is decided."""
    own = json.dumps([[row["id"] for row in products], data["decided"]])
    return hashlib.sha256(own.encode()).hexdigest()[:16]


def tell_missing(products, images_path):
    """Say so where not one of the pictures is in images_path."""
    there = [os.path.exists(row["file"]) for row in products if row["file"]]
    if there and not any(there):
        log(f"none of {len(there)} pictures is in {images_path}: name their folder with "
            "--images-path")


def fingerprint(text):
    """What a Content-Security-Policy names an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
