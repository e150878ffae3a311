"""What a random sample says about the share that is right, at whatever answer one looks.

In: how many products were filed, how many of them a person has looked at, in random order, and how
many of those were wrong. Out: limits of the share that is right, a verdict on a promise, and how
many answers it takes. The standard library only; audit.py applies it:

    python analyze.py --audit 1 -o audit.html
    python analyze.py --models
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

KEPT, OPEN, BROKEN = "kept", "open", "broken"
# The mixture is Beta(a, b) with this a, and with the promised share of wrong products as its mean.
# A smaller a takes fewer answers if none is wrong, a larger one if some are: of 1/4, 1/2, 1 and 2
# this one is the best or within a tenth of the best at 95, 98 and 99 %, with up to ten wrong ones.
PRIOR_WRONG = 0.5
ROUNDING = 1e-9
STEPS = 8  # the thresholds that are tried keep 7/8, 6/8, ... 1/8 of what was filed


class Counts(NamedTuple):
    """What is known of the products that were filed at one level."""

    filed: int  # in all
    looked: int  # of these, drawn at random and answered
    wrong: int  # of those that were looked at
    unsure: int  # of those: nobody knows whether they are right


class Limits(NamedTuple):
    """Limits of the share that is right, each from 0 to 1."""

    low: float
    high: float


# ---- the confidence sequence --------------------------------------------------------------------


def log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def log_evidence(filed: int, looked: int, wrong: int, all_wrong: int, target: float) -> float:
    """The logarithm of the evidence against the hypothesis that `all_wrong` of the `filed` products
    are wrong; inf if the answers can't come from so many.

    It is a likelihood ratio. Below stands the probability of these answers in their order, if
    products are drawn without replacement: C(N - n, W - k) / C(N, W), with N filed, W all_wrong,
    n looked and k wrong. Above stands their probability under a mixture: B(a + k, b + n - k) /
    B(a, b), where B is the beta function. If W is true, the ratio is a martingale that begins at 1,
    so the probability that it ever reaches 1 / alpha is at most alpha (Ville's inequality).

    This is the prior-posterior-ratio martingale of Waudby-Smith and Ramdas, Confidence sequences
    for sampling without replacement, NeurIPS 2020 (arXiv:2006.04347), with a beta-binomial prior.
    The mixture is that of Robbins, Annals of Mathematical Statistics 41, 1970.
    """
    if not wrong <= all_wrong <= filed - looked + wrong:
        return math.inf
    a, b = PRIOR_WRONG, PRIOR_WRONG * target / (1 - target)
    mixed = log_beta(a + wrong, b + looked - wrong) - log_beta(a, b)
    return mixed - log_choose(filed - looked, all_wrong - wrong) + log_choose(filed, all_wrong)


def most_and_fewest_wrong(
    filed: int, looked: int, wrong: int, target: float, alpha: float
) -> tuple[int, int]:
    """(fewest, most) products that may be wrong of all that were filed: those that the evidence does
    not refute. `looked` is at least 1."""

    def refuted(all_wrong: int) -> bool:
        return log_evidence(filed, looked, wrong, all_wrong, target) >= -math.log(alpha)

    # The likelihood has one maximum, and falls on both sides of it.
    likeliest = min(max(wrong, wrong * (filed + 1) // looked), filed - looked + wrong)
    below, above = range(wrong, likeliest + 1), range(likeliest, filed - looked + wrong + 1)
    fewest = below[bisect.bisect_left(below, True, key=lambda count: not refuted(count))]
    most = above[bisect.bisect_left(above, True, key=refuted) - 1]
    return fewest, most


def limits(counts: Counts, target: float, alpha: float) -> Limits:
    """Limits of the share of all filed products that are right. With probability 1 - alpha they are
    right at each number of answers, so one may look whenever one likes, and stop whenever one likes.

    A product of which nobody is sure counts as wrong for the lower limit, and as right for the
    upper one. The target only shapes the mixture; the limits hold whatever it is.
    """
    if not counts.looked:
        return Limits(0.0, 1.0)
    filed, looked, wrong, unsure = counts
    fewest, _ = most_and_fewest_wrong(filed, looked, wrong, target, alpha)
    _, most = most_and_fewest_wrong(filed, looked, wrong + unsure, target, alpha)
    return Limits(1 - most / filed, 1 - fewest / filed)


def verdict(found: Limits, target: float) -> str:
    """`kept` if the lower limit is at or above the target, `broken` if the upper limit is below it,
    otherwise `open`."""
    if found.low >= target - ROUNDING:
        return KEPT
    return BROKEN if found.high < target - ROUNDING else OPEN


# ---- how many answers it takes ------------------------------------------------------------------


def answers_needed(filed: int, wrong: int, target: float, alpha: float) -> int | None:
    """With how many answers, `wrong` of them wrong, the target is kept; None if even the answers for
    all `filed` products would not do."""

    def enough(looked: int) -> bool:
        return verdict(limits(Counts(filed, looked, wrong, 0), target, alpha), target) == KEPT

    if filed <= wrong or not enough(filed):
        return None
    numbers = range(wrong + 1, filed + 1)
    return numbers[bisect.bisect_left(numbers, True, key=enough)]


# ---- the threshold that an audit supports -------------------------------------------------------


class Supported(NamedTuple):
    """A threshold above which the answers agree with the target."""

    threshold: float
    counts: Counts  # of the products above it
    confirmed: bool  # the target is kept there; otherwise only the answers' own share reaches it


def supported_threshold(
    filed_scores: Sequence[float], answers: Sequence[tuple[float, str]], target: float, alpha: float
) -> Supported | None:
    """The lowest threshold above which the target is kept; if there is none, the lowest above which
    the share of right answers reaches the target; None if there is none either.

    filed_scores are the scores of all that was filed, answers are (score, answer) of those that
    were looked at. The thresholds that are tried are fixed by the filed scores alone: they keep
    seven eighths of what was filed, six eighths and so on. The best of seven is chosen, so each is
    held to alpha / 7 (Bonferroni); the second kind is a reading of the answers and no promise.
    """
    ordered = sorted(filed_scores)
    tried = [ordered[len(ordered) * step // STEPS] for step in range(1, STEPS)] if ordered else []
    agreeing = []
    for threshold in sorted(set(tried)):
        above = [answer for score, answer in answers if score >= threshold]
        filed = len(ordered) - bisect.bisect_left(ordered, threshold)
        counts = Counts(filed, len(above), above.count("wrong"), above.count("unsure"))
        found = limits(counts, target, alpha / (STEPS - 1))
        if verdict(found, target) == KEPT:
            return Supported(threshold, counts, True)
        sure = counts.looked - counts.unsure
        if sure and counts.wrong <= (1 - target) * sure + ROUNDING:
            agreeing.append(Supported(threshold, counts, False))
    return agreeing[0] if agreeing else None
