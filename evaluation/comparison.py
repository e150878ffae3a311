"""Experiments held against each other, as dicts for analyze.py to print or to give out as JSON.

In: the rows of crawl.db. Out: what several experiments reached on the products that all have, and
for each pair exact tests, intervals of differences and the products that flipped.

    python analyze.py --compare 1 2
    python analyze.py --compare 1 2 3 --json
"""
import itertools

import numpy as np

import db
from common.terminal import UserError
from evaluation import figures, queries
from learning import metrics


def align(found):
    """The rows of several experiments, [(names, ROW [n])], for the products that all have with one
    label: (names, [ROW [m]], how many products all have)."""
    place, tables = {}, []
    for names, rows in found:
        code = np.array([place.setdefault(name, len(place)) for name in names] + [-1])
        for field in ("label", "predicted"):
            rows[field] = code[rows[field]]
        tables.append(rows[np.unique(rows["product"], return_index=True)[1]])
    common = tables[0]["product"]
    for rows in tables[1:]:
        common = np.intersect1d(common, rows["product"])
    tables = [rows[np.isin(rows["product"], common)] for rows in tables]
    same = np.all([rows["label"] == tables[0]["label"] for rows in tables], axis=0)
    return list(place), [rows[same] for rows in tables], len(common)


def compare(conn, numbers, confidence, top):
    """Experiments on the products that all have, as a dict for JSON."""
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise UserError("--compare takes two or more different experiments, such as --compare 1 2")
    chosen = [db.experiment(conn, number) for number in numbers]
    sizes = [queries.count_predictions(conn, number) for number in numbers]
    names, tables, shared = align([figures.read_rows(conn, number) for number in numbers])
    if not shared:
        raise UserError(f"experiments {', '.join(map(str, numbers))} share no test products, so "
                        "there is nothing to compare: train them on the same categories")
    if not len(tables[0]):
        raise UserError(f"experiments {', '.join(map(str, numbers))} file none of the products "
                        "they share under the same label: train them again on the catalogue "
                        "as it is")
    right = np.array([(rows["label"] >= 0) & (rows["predicted"] == rows["label"])
                      for rows in tables])
    n = len(tables[0])
    settings = [db.settings(row) for row in chosen]
    found = {"n": n, "label_differs": shared - n, "confidence": confidence, "experiments": [
        {"experiment": number, "name": row["name"] or "", "date": row["date"],
         "folds": own.get("folds"), "categories": len(own.get("categories") or ()) or None,
         "predictions": size,
         "accuracy": figures.share(hits.sum(), n, confidence),
         "today": queries.changes(conn, number),
         "right_alone": int((hits & (right.sum(axis=0) == 1)).sum()),
         **{f"coverage_{percent}": metrics.accepted(rows["score"], hits, percent) / n
            for percent in figures.TARGETS}}
        for number, row, own, size, rows, hits in zip(numbers, chosen, settings, sizes, tables,
                                                      right)]}
    found["same_categories"] = len({tuple(own.get("categories") or ()) for own in settings}) == 1
    found["any_right"] = figures.share(right.any(axis=0).sum(), n, confidence)
    found["pairs"] = [compare_pair(numbers[a], numbers[b], tables[a], tables[b], right[a], right[b],
                                   confidence)
                      for a, b in itertools.combinations(range(len(numbers)), 2)]
    found["flipped"], found["flips"] = flips(conn, names, numbers, tables, right, top)
    return found


def compare_pair(first, second, a, b, right_a, right_b, confidence):
    """Exact McNemar and paired bootstrap by group of two experiments' rows of the same products."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    drawn = metrics.bootstrap_differences((a["score"], right_a), (b["score"], right_b), a["group"],
                                          figures.TARGETS)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    measured = ["accuracy", *(f"coverage_{percent}" for percent in figures.TARGETS)]
    of = [(metrics.accuracy(right_a), metrics.accuracy(right_b)),
          *((metrics.accepted(a["score"], right_a, percent) / len(a),
             metrics.accepted(b["score"], right_b, percent) / len(b))
            for percent in figures.TARGETS)]
    p, (low_accuracy, *_), (high_accuracy, *_) = metrics.mcnemar(only_a, only_b), low, high
    # McNemar takes products as independent: where the bootstrap by group sees nothing, groups
    # of many products have made the difference.
    seen = p < 1 - confidence and not low_accuracy <= 0 <= high_accuracy
    return {"experiments": [first, second], "both_right": int((right_a & right_b).sum()),
            "only_first_right": only_a, "only_second_right": only_b,
            "none_right": int((~right_a & ~right_b).sum()), "mcnemar_p": p,
            "ahead": None if not seen else first if only_a > only_b else second,
            "differences": [
                {"of": name, "second_minus_first": y - x, "interval": (float(lo), float(hi)),
                 "ahead": second if lo > 0 else first if hi < 0 else None}
                for name, (x, y), lo, hi in zip(measured, of, low, high)]}


def flips(conn, names, numbers, tables, right, top):
    """(how many products some get right and others wrong, those by the highest score any gave)."""
    flipped = np.flatnonzero(right.any(axis=0) & ~right.all(axis=0))
    score = np.max([rows["score"][flipped] for rows in tables], axis=0)
    shown = flipped[np.argsort(-score, kind="stable")][:top]
    texts = queries.product_texts(conn, tables[0]["product"][shown].tolist())
    found = []
    for i in shown:
        product = texts.get(int(tables[0]["product"][i]))
        found.append({"product": int(tables[0]["product"][i]),
                      "external_id": product and product["external_id"],
                      "name": product and product["name"], "label": names[tables[0]["label"][i]],
                      "answers": [{"experiment": number,
                                   "category": [*names, None][rows["predicted"][i]],
                                   "score": float(rows["score"][i]), "right": bool(hits[i])}
                                  for number, rows, hits in zip(numbers, tables, right)]})
    return len(flipped), found
