"""Whether a promise holds for a shop's new products, which may differ from those it rests on.

In: a promise of guarantees.py, the products that it rests on, and the answers for new ones. Out:
thresholds for these: the promise's own, or stricter ones, with the reasons in words. Numpy only;
filing.py files by them.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation import certificates, feature_queries, figures, filing_queries, guarantees, shifts
from evaluation.figures import Rows
from learning import category_tree, metrics
from learning import queries as learning_queries

QUANTILES = (
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
)  # of labelled products' scores; new ones are counted between them
SURE = 3  # standard deviations by which labelled products must be right less often to refuse
ENOUGH = 200  # groups of labelled products of a shop to compare its new ones with
# How far new products may be from those that the promise rests on, beyond what chance explains:
# shares and means, and distances of distributions, each from 0 to 1. (The model that files has
# learned from all of them, and is a little surer than those that were measured.)
TOLERATED = {
    "unknown words": 0.05,
    "no picture": 0.05,
    "no description": 0.05,
    "scores": 0.05,
    "near-duplicates": 0.05,
    "categories": 0.2,
}


class Labelled(NamedTuple):
    """The products that a promise rests on."""

    names: list[str]  # category ids
    rows: Rows  # of figures.ROW
    above: NDArray[np.int64]  # figures.parent_codes


def labelled_rows(
    conn: sqlite3.Connection,
    number: int,
    described: Mapping[str, Any],
    promise: guarantees.Promise | None = None,
) -> Labelled:
    """The Labelled of an experiment, as they are filed by a promise if there is one; `described` is
    the description of its model."""
    names, rows = figures.read_predictions(
        conn, number, not described["settings"].get("folds"), False, described["categories"]
    )
    parents = category_tree.parents(conn, category_tree.rule_of(described["settings"]))
    if promise is not None:
        rows = guarantees.filed_rows(conn, number, names, rows, promise)
    return Labelled(names, rows, figures.parent_codes(names, parents))


def for_source(
    conn: sqlite3.Connection,
    number: int,
    described: Mapping[str, Any],
    source: str,
    labelled: Labelled,
    promise: guarantees.Promise,
) -> tuple[dict[str, float], list[str], dict[str, Any]]:
    """(thresholds, reasons, features): what the promise comes to for a shop's new products, why it
    is less if it is, and their feature_queries.features."""
    old = reference(conn, number, described, source)
    new = feature_queries.features(conn, number, source)
    new["scores"] = np.fromiter(new["scores"], float)
    if old["source"] is not None:
        ids = learning_queries.product_ids(conn, source)
        labelled = labelled._replace(rows=labelled.rows[np.isin(labelled.rows["product"], ids)])
    groups = new["groups"] / max(1, new["products"])  # colours of a style are no more evidence
    counts = {
        answer: groups * count
        for answer, count in filing_queries.answer_counts(
            conn, number, source, edges(labelled.rows).tolist(), guarantees.shut_leaves(promise)
        ).items()
    }
    thresholds, reasons = mixed(counts, labelled, promise)
    if different := differences(old, new, described["kind"]):
        thresholds, reasons = dict.fromkeys(thresholds, math.inf), different
    return thresholds, reasons, new


# ---- the mix of categories ----------------------------------------------------------------------


def mixed(
    counts: Mapping[tuple[str, int], float], labelled: Labelled, promise: guarantees.Promise
) -> tuple[dict[str, float], list[str]]:
    """(thresholds, reasons): those of the promise, without the levels that `against_mix` speaks
    against, and the reasons. If the leaf is refused, the parent's promise for all products is left.
    """
    thresholds, reasons = guarantees.promised_thresholds(promise), []
    against = against_mix(labelled, counts, thresholds, promise["target"])
    if "leaf" in against:
        reasons.append(against["leaf"])
        thresholds = guarantees.parent_alone(promise)
        against = against_mix(labelled, counts, thresholds, promise["target"])
    if "parent" in against:
        reasons.append(against["parent"])
        thresholds["parent"] = math.inf
    return thresholds, reasons


def against_mix(
    labelled: Labelled,
    counts: Mapping[tuple[str, int], float],
    thresholds: Mapping[str, float],
    target: float,
) -> dict[str, str]:
    """{level: what speaks against it, in words} of thresholds that accept too many wrong products,
    if the new ones belong to such categories as explain their answers.

    counts are {(leaf, how many QUANTILES its score reaches): groups} of the new products. A level
    is refused if fewer than `target` are estimated to be right there, and if chance alone makes so
    large a difference hardly ever.
    """
    names, rows, above = labelled
    rows = rows[certificates.one_of_each(rows["group"])]
    codes = {name: code for code, name in enumerate(names)}
    new = np.zeros(answer_codes(-1, len(QUANTILES), names) + 1)
    for (leaf, step), count in counts.items():
        new[answer_codes(codes.get(leaf, -1), step, names)] += count
    if not len(rows) or not round(new.sum()):
        return {}
    hits = figures.correct(rows, above)
    passed = np.column_stack(
        [
            rows["score"] >= thresholds["leaf"],
            (rows["score"] < thresholds["below"]) & (rows["parent_score"] >= thresholds["parent"]),
        ]
    )
    answers = answer_codes(rows["predicted"], np.digitize(rows["score"], edges(rows)), names)
    estimates = shifts.right_in_mix(
        answers, rows["label"], passed, np.column_stack([hits.leaf, hits.likeliest_parent]), new
    )
    against = {}
    for level, right in zip(("leaf", "parent"), estimates):
        if right and right.estimated < min(target, right.usual - SURE * right.chance):
            against[level] = (
                f"{100 * right.estimated:.1f} % of labelled ones in such a mix of categories are "
                f"right at the {level} ({100 * right.usual:.1f} % in the usual one, and chance "
                f"moves that by {100 * SURE * right.chance:.1f} points at most)"
            )
    return against


def answer_codes(leaves: ArrayLike, steps: Any, names: Sequence[str]) -> Any:
    """A number for each answer, int [n], or one int for one answer. An answer is a leaf, an index
    into names (any other number stands for none), and how many QUANTILES its score reaches."""
    leaves = np.asarray(leaves)
    leaves = np.where((leaves >= 0) & (leaves < len(names)), leaves, len(names))
    return leaves * (len(QUANTILES) + 1) + steps


def edges(rows: Rows) -> NDArray[np.float64]:
    """The scores of QUANTILES."""
    return np.quantile(rows["score"], QUANTILES) if len(rows) else np.zeros(len(QUANTILES))


# ---- what the products look like ----------------------------------------------------------------


def reference(
    conn: sqlite3.Connection, number: int, described: Mapping[str, Any], source: str | None
) -> dict[str, Any]:
    """feature_queries.features of the products that the experiment's promise rests on, with `source`
    and with the unknown words that they had while the model had not seen them. They are a shop's
    own if it has ENOUGH, else all (source None)."""
    settings = described["settings"]
    table = "predicted_category" if settings.get("folds") else "validation_prediction"
    old = feature_queries.features(conn, number, source, table)
    if old["groups"] < ENOUGH and source is not None:
        return reference(conn, number, described, None)
    old["scores"] = figures.structured(old["scores"], float, number)
    measured = settings.get("unknown words")
    measured = measured.get(source or "") if isinstance(measured, dict) else None
    old["unknown"] = unknown_words(old, measured)
    old["source"] = source
    return old


def unknown_words(old: Mapping[str, Any], measured: Any) -> tuple[int, float, float] | None:
    """(products, mean, variance of the share of words that are unknown) of labelled products, None
    if it is not known. measured is [mean, variance], which the experiment wrote down for those that
    it predicted; old["unknown"] is of those that only the saved model answered."""
    if not is_mean_and_variance(measured):
        return None
    mean, variance = measured
    strange, strange_mean, strange_variance = old["unknown"]
    predicted = max(0, old["products"] - strange)
    moments = np.average(
        [[mean, variance + mean**2], [strange_mean, strange_variance + strange_mean**2]],
        axis=0,
        weights=[predicted, strange + 1e-9],
    )
    return predicted + strange, float(moments[0]), float(moments[1] - moments[0] ** 2)


def is_mean_and_variance(measured: Any) -> bool:
    """Whether the settings, which anybody may have written, hold two numbers from 0 to 1."""
    return (
        isinstance(measured, list)
        and len(measured) == 2
        and all(type(number) in (int, float) and 0 <= number <= 1 for number in measured)
    )


def share_shift(new: float, new_groups: int, old: float, old_groups: int) -> float:
    """shifts.mean_shift of two shares."""
    return shifts.mean_shift(new, new * (1 - new), new_groups, old, old * (1 - old), old_groups)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], kind: str) -> list[str]:
    """Lines about how `new` products differ from `old` ones, both feature_queries.features, by more
    than is TOLERATED. What a model of this kind does not look at does not count, nor that more
    words are known or that more products have a near-duplicate in training."""
    n, m = new["groups"], old["groups"]
    lines = []
    if "Text" in kind:
        lines += unknown_words_lines(old, new) + missing_lines(old, new, "no description")
    if "Image" in kind:
        lines += missing_lines(old, new, "no picture")
    near, near_before = new["near-duplicate"], old["near-duplicate"]
    if (
        near is not None
        and near_before is not None
        and near < near_before
        and share_shift(near, n, near_before, m) > TOLERATED["near-duplicates"]
    ):
        lines.append(
            f"{100 * near:.0f} % of them have a near-duplicate among the labelled "
            f"products ({100 * near_before:.0f} % had one among those that they were "
            "predicted from)"
        )
    if shifts.score_shift(new["scores"], n, old["scores"], m) > TOLERATED["scores"]:
        lines.append(
            "their scores are lower (on the average "
            f"{metrics.accuracy(new['scores']):.2f}, there "
            f"{metrics.accuracy(old['scores']):.2f})"
        )
    moved = shifts.count_shift(new["categories"], n, old["categories"], m)
    if moved > TOLERATED["categories"]:
        lines.append(
            f"their mix of categories is another one (at least {100 * moved:.0f} % of "
            "them would have to be of other categories to give the usual one, "
            f"{100 * TOLERATED['categories']:.0f} % may)"
        )
    return lines


def unknown_words_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """[a line about words that the model does not know], [] if there are not too many."""
    if old["unknown"] is None:
        return []
    _, mean, variance = new["unknown"]
    _, old_mean, old_variance = old["unknown"]
    shift = shifts.mean_shift(mean, variance, new["groups"], old_mean, old_variance, old["groups"])
    if mean <= old_mean or shift <= TOLERATED["unknown words"]:
        return []
    return [
        f"the model knows {100 - 100 * mean:.0f} % of their words "
        f"({100 - 100 * old_mean:.0f} % there)"
    ]


def missing_lines(old: Mapping[str, Any], new: Mapping[str, Any], feature: str) -> list[str]:
    """[a line about products with `no description` or `no picture`], [] if they are few."""
    if (
        new[feature] <= old[feature]
        or share_shift(new[feature], new["groups"], old[feature], old["groups"])
        <= TOLERATED[feature]
    ):
        return []
    return [f"{100 * new[feature]:.0f} % of them have {feature} ({100 * old[feature]:.0f} % there)"]
