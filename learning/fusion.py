"""What text and picture say together.

In: the log-probabilities of two classifiers. Out: their sum, with weights fitted on validation
products; the less sure the text is, the more the picture counts. A product without a readable
picture is answered from its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from common.terminal import UserError, log
from learning import (
    experiments,
    layers,
    metrics,
    picture_classifier,
    text_classifier,
    text_features,
)
from learning.selection import Products

FUSED = ("text", "picture", "picture per nat of the text's entropy")
PRIOR = (1, 1, 25)  # precision of the normal prior of each weight, around the text alone
MOST, CELLS = 20_000, 10_000_000  # validation products, and these times leaves, at most, that the
#                                   weights are fitted on


def evidence(text: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """What speaks for each category, [n, leaves, 3] as in FUSED, of the log-probabilities
    [n, leaves] of the text and of the picture."""
    entropy = -(np.exp(text) * text).sum(axis=1, keepdims=True)
    return np.stack([text, picture, entropy * picture], axis=2)


def fit_fusion(
    spoken: np.ndarray, labels: np.ndarray, prior: Sequence[float] = PRIOR
) -> np.ndarray:
    """The weights [k] of evidence [n, leaves, k] that make the labels [n] likeliest: a conditional
    logit (McFadden 1974), with a prior that keeps to the text alone where products are few. The
    likelihood is concave: Newton's steps, halved if they go too far, find its top."""
    precision, start = np.array(prior), np.eye(len(prior))[0]
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
    fit_text: experiments.Fit,
    fit_picture: experiments.Fit,
    has_picture: np.ndarray,
) -> experiments.Fit:
    """A function that trains two classifiers and fuses them, as experiments.experiment needs it;
    has_picture is bool [products].

    Its weights are those of both networks, their names with text_ and picture_ before them,
    `fusion` (float64 [3]) and `unseen`. Raises UserError if there are no pictures to train and to
    validate on.
    """

    def fit(rows, validation, label, models=()):
        seen, watched = rows[has_picture[rows]], validation[has_picture[validation]]
        if not len(seen) or not (len(watched) or models):
            raise UserError(
                "there are no pictures that can be read among the products to train "
                "or to validate on: use categorize_words.py"
            )
        text = fit_text(rows, validation, f"{label}, text", [model.parts[0] for model in models])
        picture = fit_picture(
            seen, watched, f"{label}, picture", [model.parts[1] for model in models]
        )
        # Of a category that had no picture to learn from the picture says nothing at all.
        unseen = np.bincount(products.taught[seen], minlength=len(products.leaves)) == 0

        def both(rows):
            by_picture = log_probabilities(picture, rows)
            by_picture[:, unseen] = -np.log(len(unseen))
            return log_probabilities(text, rows), by_picture

        if models:
            weights = np.mean([model.weights["fusion"] for model in models], axis=0)
        else:
            most = min(MOST, max(1000, CELLS // len(unseen)))
            sample = watched[np.argsort(products.u[watched])[:most]]  # by chance: u is a hash
            weights = fit_fusion(evidence(*both(sample)), products.taught[sample])
        log(
            f"{label}: weights of the "
            + ", ".join(f"{name} {weight:.2f}" for name, weight in zip(FUSED, weights))
        )

        def scores(rows):
            out = np.empty((len(rows), len(unseen)), np.float32)
            for part in metrics.slices(*out.shape):
                out[part] = fuse(*both(rows[part]), has_picture[rows[part]], weights)
            return out

        kept = {
            f"{name}_{key}": value
            for name, part in (("text", text), ("picture", picture))
            for key, value in part.weights.items()
        }
        return experiments.Fitted(
            {**kept, "fusion": weights, "unseen": unseen},
            [*text.steps, *picture.steps],
            len(rows),
            1.0,
            scores,
            parts=(text, picture),
        )

    return fit


def fused_settings(outcome: experiments.Outcome) -> dict:
    """What the experiment and its model keep of the fusion, in plain numbers."""
    return {
        "fusion": {
            "weights": {
                name: [round(float(model.weights["fusion"][place]), 4) for model in outcome.models]
                for place, name in enumerate(FUSED)
            },
            "temperatures": [
                [part.temperature for part in model.parts] for model in outcome.models
            ],
            "used": [float(weight) for weight in outcome.model.weights["fusion"]],
            "used temperatures": [part.temperature for part in outcome.model.parts],
        }
    }


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


def compared(products: Products, rows: np.ndarray, guesses: np.ndarray, most: int = 5) -> list[str]:
    """Lines about test products `rows`: how many text, picture, both and either alone answer
    rightly, and in which categories the picture helps. guesses: int [3, rows], of text, picture
    (-1 for none) and both."""
    labels, pictured = products.labels[rows], guesses[1] >= 0
    text, picture, both = guesses == labels
    lines = [f"On the same {len(rows)} products, {pictured.sum()} of them with a picture"]
    for name, right in (
        ("Text", text),
        ("Picture, where there is one", picture[pictured]),
        ("Both", both),
        ("Text or picture right", text | picture),
    ):
        lines.append(f"  {name}: {100 * metrics.accuracy(right):.2f}%")
    everywhere = np.ones(len(rows), bool)
    for name, alone, asked in (
        ("text", text, everywhere),
        ("picture, where there is one", picture, pictured),
    ):
        gained, lost = int((both & ~alone & asked).sum()), int((alone & ~both).sum())
        lines.append(
            f"  Both against {name}: {gained} gained, {lost} lost, exact McNemar p "
            f"{metrics.p_value(metrics.mcnemar(gained, lost))}"
        )
    gains = np.bincount(labels[both & ~text], minlength=len(products.leaves))
    losses = np.bincount(labels[text & ~both], minlength=len(products.leaves))
    for title, net in (("helps", gains - losses), ("harms", losses - gains)):
        best = [leaf for leaf in np.argsort(-net, kind="stable")[:most] if net[leaf] > 0]
        if best:
            lines.append(
                f"  The picture {title} most: "
                + ", ".join(
                    f"{products.leaves[leaf]} +{gains[leaf]} -{losses[leaf]}" for leaf in best
                )
            )
    return lines


def scorer(
    options: picture_classifier.PictureOptions,
    weights: dict,
    description: dict,
    waiting: picture_classifier.Pictures,
) -> Callable:
    """A function from new products to logits and what they rest on, as picture_classifier.scorer
    has it, by a saved model of categorize_both.py."""
    find = picture_classifier.bottleneck_finder(options, description, waiting)
    if "fusion" in weights:
        return fused_scorer(find, weights, description)
    return concat_scorer(find, weights, description)


def concat_scorer(find: Callable, weights: dict, description: dict) -> Callable:
    """`scorer` of one network of both, as in 2016."""
    lexicon = text_features.make_lexicon(description, weights)

    def score(rows: Sequence) -> tuple:
        matrix, picture = find(rows)
        bag, count, unknown = text_features.bag_of(
            lexicon,
            ((row["name"], row["description"]) for row in rows),
            len(description["vocabulary"]),
        )
        logits = layers.logits(
            weights, layers.Inputs(bag=bag, bottlenecks=matrix, rows=picture), np.arange(len(rows))
        )
        return logits, (count > 0) | (picture >= 0), count, unknown, picture >= 0

    return score


def fused_scorer(find: Callable, weights: dict, description: dict) -> Callable:
    """`scorer` of two networks and the weights that fuse them."""
    text, picture = (
        {
            name.removeprefix(prefix): array
            for name, array in weights.items()
            if name.startswith(prefix)
        }
        for prefix in ("text_", "picture_")
    )
    by_text = text_classifier.text_scorer(text, description)
    text_temperature, picture_temperature = description["fusion"]["used temperatures"]

    def score(rows: Sequence) -> tuple:
        matrix, picture_row = find(rows)
        text_logits, count, unknown = by_text(rows)
        picture_logits = layers.logits(
            picture, layers.Inputs(bottlenecks=matrix, rows=picture_row), np.arange(len(rows))
        )
        by_picture = metrics.log_softmax(picture_logits.astype(np.float64) / picture_temperature)
        by_picture[:, weights["unseen"]] = -np.log(len(weights["unseen"]))
        fused = fuse(
            metrics.log_softmax(text_logits.astype(np.float64) / text_temperature),
            by_picture,
            picture_row >= 0,
            weights["fusion"],
        )
        return fused, (count > 0) | (picture_row >= 0), count, unknown, picture_row >= 0

    return score
