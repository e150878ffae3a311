"""A promise in words: what is filed from which score on, or why nothing is.

In: a promise of guarantees.py. Out: lines for the terminal.

    python categorize_words.py --apply 1 --target 95
"""

from __future__ import annotations

from collections.abc import Iterator

from common.terminal import counted
from evaluation.guarantees import OUT_OF_FOLD, Promise
from learning.split import few_folds_text

NOTABLE = 0.01  # of all products, that the floor leaves to a parent or a person


def promise_lines(promise: Promise) -> Iterator[str]:
    """What is promised, in a few lines."""
    if promise["few_folds"]:
        yield "nothing can be promised, so nothing is filed: " + few_folds_text(
            promise["few_folds"]
        )
        return
    if promise["leaf"] is None and promise["parent"] is None:
        yield from nothing_promised_lines(promise)
        return
    yield (
        f"promised with {100 * promise['confidence']:g} % confidence: of the products that are "
        f"filed, at least {100 * promise['target']:g} % are right. It rests on "
        f"{basis_text(promise)}, and holds for products like those, of their categories"
    )
    for level in ("leaf", "parent"):
        if promise[level] is None:
            yield f"  at the {level}: nothing. {nearest_text(promise, level)}"
        else:
            yield f"  at the {level}: from score {promise[level]:.4f} on"
    if promise["leaf"] is not None and promise.get("shut"):
        yield f"  {shut_text(promise)}"
    if promise["leaf"] is not None and promise["without_floor"] - promise["at_leaves"] >= NOTABLE:
        yield (
            f"  of products like these {100 * promise['at_leaves']:.0f} % are filed at leaves; "
            f"without the floor for each leaf (--floor 0) it would be "
            f"{100 * promise['without_floor']:.0f} %"
        )
    if promise["leaf"] is None and lowering_helps(promise):
        yield f"  a lower --target may file some at leaves{lower_text(promise)}"
    yield from stopped_lines(promise)


def shut_text(promise: Promise) -> str:
    """How many leaves are shut, and where their products go, in words."""
    worst, number = promise["shut"][0], len(promise["shut"])
    return (
        f"{'1 leaf is' if number == 1 else f'{number} leaves are'} shut: clearly less than "
        f"{100 * promise['floor']:g} % (--floor) would be right there (the worst, "
        f"{worst['category']}: {worst['right']} of {worst['accepted']} were). Their "
        "products go to the parent, or to a person"
    )


def nothing_promised_lines(promise: Promise) -> Iterator[str]:
    """Why nothing is promised at the leaf or at the parent, and what may help, in words."""
    yield (
        f"nothing can be promised at {100 * promise['target']:g} % by {basis_text(promise)}, "
        "so nothing is filed"
    )
    for level in promise["nearest"]:
        yield f"  at the {level}: {nearest_text(promise, level)}"
    if promise["rests_on"] != OUT_OF_FOLD:
        yield "  train with --folds 10, which certifies on all products"
    if lowering_helps(promise):
        yield f"  try a lower --target{lower_text(promise)}"
    yield from stopped_lines(promise)


def basis_text(promise: Promise) -> str:
    """What a promise rests on, in words."""
    details = [promise["rests_on"]]
    if promise.get("chose"):
        details.append(f"{promise['chose']} of them decided which leaves are shut")
    if promise["strange"]:
        details.append(f"{promise['strange']} of them of other categories than the model's")
    if promise["refiled"]:
        details.append(f"{promise['refiled']} of them refiled by the shop since")
    return f"{counted(promise['products'], 'independent product')} ({'; '.join(details)})"


def lowering_helps(promise: Promise) -> bool:
    """Whether a lower target is the advice; if products were refiled, it is to train again."""
    return bool(promise["lower"]) and "refiled" not in promise["stopped"]


def lower_text(promise: Promise) -> str:
    """What the lower target would file, in words."""
    percent, share = promise["lower"]
    return f" ({percent} would file {100 * share:.0f} % of products like these at leaves)"


def nearest_text(promise: Promise, level: str) -> str:
    """The numbers that the promise failed on at a level, in words."""
    near = promise["nearest"].get(level)
    if near is None:
        return "All products are filed at the leaf"
    if not near["products"]:
        return "There is no product to go by"
    strange = ""
    if near["strange"]:
        strange = f", {near['strange']} of those of categories that the model does not know"
    if near["most"] < 0:
        verdict = f"It takes at least {near['fewest']:,} products, all of them right"
    elif near["most"] == 0 < near["wrong"]:
        verdict = "None may be wrong"
    elif near["most"] < near["wrong"]:
        verdict = f"At most about {near['most']} may be wrong"
    else:
        verdict = "That falls a little short of a proof"
    return (
        f"Of the {counted(near['products'], 'product')} with a score of at least "
        f"{near['score']:.4f}, {near['wrong']} are wrong{strange}. {verdict}"
    )


def stopped_lines(promise: Promise) -> Iterator[str]:
    """A line that says what stopped the promise at the leaf, and what to do about it; none if
    nothing of the kind stopped it."""
    if "floor" in promise["stopped"]:
        yield (
            f"  at the leaf it would be promised without the floor of {100 * promise['floor']:g} "
            "%, for which a part of the certainty is kept: use --floor 0, or train on more "
            "labelled products"
        )
    causes, advice = [], []
    if "strange" in promise["stopped"]:
        low = promise["min_products"]
        wider = {
            None: "more --categories, which leaves",
            1: "more labelled products, which leave",
        }.get(low, f"--min-products below {low}, which leaves")
        causes.append(
            f"the {counted(promise['strange'], 'product')} of categories that the model does not know"
        )
        advice.append(f"train with {wider} fewer of them out")
    if "refiled" in promise["stopped"]:
        have = counted(promise["refiled"], "product that has", "products that have")
        causes.append(f"the {have} another category now")
        advice.append("train again, on the categories they have now")
    if causes:
        yield (
            f"  at the leaf it would be promised without {' and '.join(causes)}, which count "
            f"as errors: {', and '.join(advice)}"
        )
