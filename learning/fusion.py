"""What two classifiers say together: text and picture, or words and the encoder of a text.

In: the log-probabilities of two classifiers. Out: their sum, with weights fitted on validation
products; the less sure the first is, the more the second counts. A product without a readable
picture is answered from its words, and so is a text of which an encoder knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from common.terminal import UserError, log
from learning import correctness, experiments, metrics
from learning.selection import Products

FUSED = ("text", "picture", "picture per nat of the text's entropy")
PRIOR = (1, 1, 25)  # precision of the normal prior of each weight, around the text alone


class Pair(NamedTuple):
    """Two classifiers that are fused, and what is said of them."""

    names: tuple[str, str] = ("text", "picture")  # of the first one; of the one that may be missing
    fused: Sequence[str] = FUSED  # what the weights are of
    key: str = "fusion"  # under which a model keeps what it has to know
    prior: Sequence[float] = PRIOR  # precision of the weights' prior
    centre: Sequence[float] = (1, 0, 0)  # of it
    doubt: float = 0.0  # the chance that the second one is no use and each class as likely
    none: str = (
        "there are no pictures that can be read among the products to train "
        "or to validate on: use categorize_words.py"
    )


PICTURE = Pair()
ENCODER = Pair(
    ("words", "encoder"),
    ("words", "encoder", "encoder per nat of the words' entropy"),
    "encoder fusion",
    # All three were chosen on validation products: with 22 of them what is fitted is mostly this.
    prior=(100, 100, 300),
    centre=(0.5, 0.5, 0.1),
    doubt=0.02,
    none="the encoder knows nothing of the products to train or to validate on: leave --encoder "
    "out",
)
MOST, CELLS = 20_000, 10_000_000  # validation products, and these times leaves, at most, that the
#                                   weights are fitted on


def evidence(text: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """What speaks for each category, [n, leaves, 3] as in FUSED, of the log-probabilities
    [n, leaves] of the text and of the picture."""
    entropy = -(np.exp(text) * text).sum(axis=1, keepdims=True)
    return np.stack([text, picture, entropy * picture], axis=2)


def fit_fusion(
    spoken: np.ndarray,
    labels: np.ndarray,
    prior: Sequence[float] = PRIOR,
    centre: Sequence[float] = (1, 0, 0),
) -> np.ndarray:
    """The weights [k] of evidence [n, leaves, k] that make the labels [n] likeliest: a conditional
    logit (McFadden 1974), with a prior that keeps to its centre where products are few. The
    likelihood is concave: Newton's steps, halved if they go too far, find its top."""
    precision, start = np.array(prior), np.zeros(len(prior))
    start[: len(centre)] = centre
    rows = np.arange(len(labels))
    chosen, weights = spoken[rows, labels], start

    def loss(weights):
        return (
            precision @ (weights - start) ** 2 / 2
            - metrics.log_softmax(spoken @ weights)[rows, labels].sum()
        )

    for _ in range(50):
        chance = np.exp(metrics.log_softmax(spoken @ weights))
        mean = np.einsum("nk,nkd->nd", chance, spoken)
        slope = (mean - chosen).sum(axis=0) + precision * (weights - start)
        curvature = np.einsum("nk,nkd,nke->de", chance, spoken, spoken) - mean.T @ mean
        step = np.linalg.solve(curvature + np.diag(precision), slope)
        while np.abs(step).max() > 1e-9 and not loss(weights - step) <= loss(weights):
            step /= 2
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def fuse(
    text: np.ndarray, picture: np.ndarray, has_picture: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Logits [n, leaves] of the log-probabilities [n, leaves] of text and picture; those of the
    text alone if there is no picture."""
    entropy = -(np.exp(text) * text).sum(axis=1, keepdims=True)
    both = weights[0] * text + (weights[1] + weights[2] * entropy) * picture
    return np.where(has_picture[:, None], both, text)


def log_probabilities(model: experiments.Fitted, rows: np.ndarray) -> np.ndarray:
    """Calibrated, [rows, leaves], of an experiments.Fitted."""
    return metrics.log_softmax(model.scores(rows).astype(np.float64) / model.temperature)


def fusion(
    products: Products,
    fit_first: experiments.Fit,
    fit_second: experiments.Fit,
    has_second: np.ndarray,
    pair: Pair = PICTURE,
) -> experiments.Fit:
    """A function that trains two classifiers and fuses them, as experiments.experiment needs it;
    has_second is bool [products]: whether the second one, a picture, is there.

    Its weights are those of both, with their names and _ before them (text_ and picture_), `fusion`
    (float64 [3]) and `unseen`. Raises UserError if the second one has nothing to train and to
    validate on.
    """

    def fit(rows, validation, label, models=()):
        seen, watched = rows[has_second[rows]], validation[has_second[validation]]
        if not len(seen) or not (len(watched) or models):
            raise UserError(pair.none)
        first = fit_first(
            rows, validation, f"{label}, {pair.names[0]}", [model.parts[0] for model in models]
        )
        second = fit_second(
            seen, watched, f"{label}, {pair.names[1]}", [model.parts[1] for model in models]
        )
        unseen = np.bincount(products.taught[seen], minlength=len(products.leaves)) == 0

        def both(rows):
            by_second = heard(log_probabilities(second, rows), unseen, pair)
            return log_probabilities(first, rows), by_second

        weights = fused_weights(products, both, watched, models, len(unseen), pair)
        log(
            f"{label}: weights of the "
            + ", ".join(f"{name} {weight:.2f}" for name, weight in zip(pair.fused, weights))
        )

        def scores(rows):
            out = np.empty((len(rows), len(unseen)), np.float32)
            for part in metrics.slices(*out.shape):
                out[part] = fuse(*both(rows[part]), has_second[rows[part]], weights)
            return out

        kept = {
            f"{name}_{key}": value
            for name, part in zip(pair.names, (first, second))
            for key, value in part.weights.items()
        }
        return experiments.Fitted(
            {**kept, "fusion": weights, "unseen": unseen},
            [*first.steps, *second.steps],
            len(rows),
            1.0,
            scores,
            parts=(first, second),
            blind=fused_blindly(first.blind, second.blind, has_second, weights, unseen, pair),
        )

    return fit


def fused_weights(
    products: Products,
    both: Callable,
    watched: np.ndarray,
    models: Sequence[experiments.Fitted],
    classes: int,
    pair: Pair,
) -> np.ndarray:
    """The weights float64 [3] that fuse what `both` say of products: fitted on the validation
    products `watched`, or after folds the mean of their models'."""
    if models:
        return np.mean([model.weights["fusion"] for model in models], axis=0)
    most = min(MOST, max(1000, CELLS // classes))
    sample = watched[np.argsort(products.u[watched])[:most]]  # by chance: u is a hash
    return fit_fusion(evidence(*both(sample)), products.taught[sample], pair.prior, pair.centre)


def fused_blindly(
    first: correctness.Blind | None,
    second: correctness.Blind | None,
    has_second: np.ndarray,
    weights: np.ndarray,
    unseen: np.ndarray,
    pair: Pair,
) -> correctness.Blind | None:
    """The fusion of what members say of products that they are blind to, if they do. A member of
    the first classifier and the same one of the second are blind to the same products."""
    if first is None or second is None:
        return None
    place = np.minimum(np.searchsorted(second.rows, first.rows), len(second.rows) - 1)
    found = second.rows[place] == first.rows
    kept = found | ~has_second[first.rows]  # the others are not in the second one's sample
    by_second = heard(second.logs[place[kept]], unseen, pair)
    both = fuse(first.logs[kept], by_second, found[kept], weights)
    return correctness.Blind(first.rows[kept], metrics.log_softmax(both))


def heard(second: np.ndarray, unseen: np.ndarray, pair: Pair) -> np.ndarray:
    """What is heard of the second one's log-probabilities [n, leaves]: it may be no use at all, and
    of a category that had no picture to learn from, `unseen` [leaves], it says nothing."""
    if pair.doubt:
        second = np.log((1 - pair.doubt) * np.exp(second) + pair.doubt / len(unseen))
    second[:, unseen] = -np.log(len(unseen))
    return second


def parted(weights: dict[str, np.ndarray], pair: Pair) -> list[dict[str, np.ndarray]]:
    """The weights of the two classifiers of a saved model, as each was trained."""
    return [
        {
            name.removeprefix(f"{prefix}_"): array
            for name, array in weights.items()
            if name.startswith(f"{prefix}_")
        }
        for prefix in pair.names
    ]


def saved_logits(
    weights: dict[str, np.ndarray],
    temperatures: Sequence[float],
    first: np.ndarray,
    second: np.ndarray,
    has_second: np.ndarray,
    pair: Pair,
) -> np.ndarray:
    """Logits [n, leaves] of a saved model that fuses, by the logits [n, leaves] of its two
    classifiers and their temperatures."""
    by_first, by_second = (
        metrics.log_softmax(logits.astype(np.float64) / temperature)
        for logits, temperature in zip((first, second), temperatures)
    )
    by_second = heard(by_second, weights["unseen"], pair)
    return fuse(by_first, by_second, has_second, weights["fusion"])


def fused_settings(outcome: experiments.Outcome, pair: Pair = PICTURE) -> dict:
    """What the experiment and its model keep of the fusion, in plain numbers."""
    return {
        pair.key: {
            "weights": {
                name: [round(float(model.weights["fusion"][place]), 4) for model in outcome.models]
                for place, name in enumerate(pair.fused)
            },
            "temperatures": [
                [part.temperature for part in model.parts] for model in outcome.models
            ],
            "used": [float(weight) for weight in outcome.model.weights["fusion"]],
            "used temperatures": [part.temperature for part in outcome.model.parts],
        }
    }


def of_first(outcome: experiments.Outcome) -> experiments.Outcome:
    """The Outcome with the first of the two classifiers in the place of each fused model."""
    return outcome._replace(
        model=outcome.model.parts[0], models=[model.parts[0] for model in outcome.models]
    )


def predicted_leaves(
    model: experiments.Fitted, rows: np.ndarray, both: np.ndarray, has_picture: np.ndarray
) -> np.ndarray:
    """The leaves int [3, rows] that text, picture (-1 if there is none) and both predict; those of
    both are given."""
    parts = list(metrics.slices(len(rows), len(model.weights["unseen"])))
    alone = [
        np.concatenate([network.scores(rows[part]).argmax(axis=1) for part in parts])
        for network in model.parts
    ]
    leaves = np.stack([*alone, both])
    leaves[1, ~has_picture[rows]] = -1
    return leaves


def compared(
    products: Products, rows: np.ndarray, guesses: np.ndarray, most: int = 5, pair: Pair = PICTURE
) -> list[str]:
    """Lines about test products `rows`: how many text, picture, both and either alone answer
    rightly, and in which categories the picture helps. guesses: int [3, rows], of text, picture
    (-1 for none) and both."""
    labels, there = products.labels[rows], guesses[1] >= 0
    first, second, both = guesses == labels
    one, other = pair.names
    where = f"{other}, where there is one" if pair == PICTURE else other
    of_these = f", {there.sum()} of them with a {other}" if pair == PICTURE else ""
    lines = [f"On the same {len(rows)} products{of_these}"]
    for name, right in (
        (one.capitalize(), first),
        (where.capitalize(), second[there]),
        ("Both", both),
        (f"{one.capitalize()} or {other} right", first | second),
    ):
        lines.append(f"  {name}: {100 * metrics.accuracy(right):.2f}%")
    everywhere = np.ones(len(rows), bool)
    for name, alone, asked in ((one, first, everywhere), (where, second, there)):
        gained, lost = int((both & ~alone & asked).sum()), int((alone & ~both).sum())
        lines.append(
            f"  Both against {name}: {gained} gained, {lost} lost, exact McNemar p "
            f"{metrics.p_value(metrics.mcnemar(gained, lost))}"
        )
    gains = np.bincount(labels[both & ~first], minlength=len(products.leaves))
    losses = np.bincount(labels[first & ~both], minlength=len(products.leaves))
    for title, net in (("helps", gains - losses), ("harms", losses - gains)):
        best = [leaf for leaf in np.argsort(-net, kind="stable")[:most] if net[leaf] > 0]
        if best:
            lines.append(
                f"  The {other} {title} most: "
                + ", ".join(
                    f"{products.leaves[leaf]} +{gains[leaf]} -{losses[leaf]}" for leaf in best
                )
            )
    return lines
