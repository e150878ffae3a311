"""What is said about categories that are left out of training, because they are too small to learn.

In: the sizes of the catalogue's classes, (products, styles) each, and which ones take part. Out:
sentences, for a warning or for the error that ends a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from common.terminal import counted

Sizes = Mapping[str, tuple[int, int]]  # {class: (products, different styles among them)}
ENOUGH = 5  # products and styles of a class, which is about what folds can split
FOLDED = 3  # styles, which folds can split at best
COUNTS_AS_ERRORS = (
    "--apply counts such products as errors, because new products will be of them, too"
)


def products_of(sizes: Sizes, leaves: Collection[str]) -> int:
    """How many products these classes have."""
    return sum(sizes[leaf][0] for leaf in leaves if leaf in sizes)


def largest_first(sizes: Sizes) -> str:
    """The three largest of these classes with their sizes, in words, and how many more there are."""
    ordered = sorted(sizes.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
    names = [
        f"{leaf} ({counted(products, 'product')} of {counted(styles, 'style')})"
        for leaf, (products, styles) in ordered[:3]
    ]
    more = f" and {len(ordered) - 3:,} more" if len(ordered) > 3 else ""
    return ", ".join(names) + more


def needed_text(folds: int | None) -> str:
    """What a class needs so that it can be learned."""
    if folds:
        return "A category needs styles in 3 different folds"
    return "A category needs a style each to train, to validate and to test on"


def warning_text(lost: Sizes, of: int, folds: int | None, what: str = "") -> str:
    """The warning that these classes of so many, which were to take part, can't be learned. `what`
    says which products count."""
    verb = "is" if len(lost) == 1 else "are"
    return (
        f"warning: {len(lost)} of {counted(of, 'category', 'categories')} {verb} left out, because "
        f"the products{what} can't be split: {largest_first(lost)}. {needed_text(folds)}"
    )


def lines(
    sizes: Sizes,
    leaves: Collection[str],
    lost: Collection[str],
    min_products: int | None,
    folds: int | None,
) -> Iterator[str]:
    """What is left out of all the classes of `sizes` if only `leaves` take part, and what it means;
    nothing if all take part. The classes `lost` were to take part, but can't be learned.
    min_products is None if the classes were named one by one."""
    if min_products is None:
        if lost:
            named = {leaf: sizes.get(leaf, (0, 0)) for leaf in lost}
            yield warning_text(named, len(leaves) + len(lost), folds)
        if others := set(sizes) - set(leaves):
            yield (
                f"{len(leaves)} of {len(sizes)} categories take part, with "
                f"{products_of(sizes, leaves):,} of {products_of(sizes, sizes):,} labelled "
                "products. The model cannot know the categories of the other "
                f"{products_of(sizes, others):,}. {COUNTS_AS_ERRORS}; name more of them with "
                "--categories, or leave that flag out"
            )
        return
    others = set(sizes) - set(leaves)
    if not others:
        return
    verb = "is" if len(others) == 1 else "are"
    reasons = []
    if small := [leaf for leaf in others if leaf not in lost]:
        reasons.append(
            f"{len(small)} with fewer than {min_products:,} products of as many different styles"
        )
    if lost:
        reasons.append(f"{len(lost)} with styles that can't be split")
    yield (
        f"warning: {len(others)} of {len(sizes)} categories, with {products_of(sizes, others):,} "
        f"of {products_of(sizes, sizes):,} labelled products, {verb} left out "
        f"({' and '.join(reasons)}): {largest_first({leaf: sizes[leaf] for leaf in others})}. "
        f"The model cannot know them. {COUNTS_AS_ERRORS}; {advice(sizes, small, min_products)}"
    )


def advice(sizes: Sizes, small: Sequence[str], min_products: int) -> str:
    """How more of the small classes may take part."""
    largest = max((min(sizes[leaf]) for leaf in small), default=0)
    lower = max(2, min(ENOUGH, largest))
    if lower <= largest and lower < min_products:
        return f"--min-products {lower} takes more categories in, and so may --depth"
    return (
        "such categories need more styles before a model can learn them, or --depth, which counts "
        "them as the category above (crawl.py --status shows what it gives)"
    )


def too_few_text(sizes: Sizes, lost: Collection[str], folds: int | None, what: str = "") -> str:
    """Why there is nothing to learn if all but one of these classes are lost."""
    advice = "load more products" if folds else "load more products, or use --folds 10"
    if len(sizes) == 1:
        return f"there is nothing to tell apart: {next(iter(sizes))} is the only category; {advice}"
    return (
        f"{len(lost)} of the {len(sizes)} categories can't be learned, because the products{what} "
        f"are too few to be split: {largest_first({leaf: sizes[leaf] for leaf in lost})}. "
        f"{needed_text(folds)}: {advice}"
    )


def stopped_text(
    sizes: Sizes,
    leaves: Collection[str],
    lost: Collection[str],
    min_products: int | None,
    folds: int | None,
    by_depth: Mapping[int, Sizes],
) -> str:
    """Why training stops if fewer than two of the classes can be learned: what the catalogue has,
    and which flags would help. The classes `leaves` were to take part, of which `lost` can't be
    learned; by_depth are the sizes that --depth would give."""
    if min_products is None:
        named = {leaf: sizes.get(leaf, (0, 0)) for leaf in leaves}
        if len(named) == 1:
            return (
                f"there is nothing to tell apart: {next(iter(named))} is the only category; "
                "name two or more"
            )
        return too_few_text(named, lost, folds)
    options = flags_that_help(sizes, min_products, by_depth)
    splittable = [leaf for leaf in leaves if leaf not in lost or min(sizes[leaf]) >= FOLDED]
    if lost and not folds and len(splittable) >= 2:
        options.insert(0, "--folds 10 (it needs fewer products of a category)")
    unsplit = f", {len(lost)} of which can't be split. {needed_text(folds)}" if lost else ""
    return (
        f"fewer than two categories can be learned: {len(leaves)} of {len(sizes)} have "
        f"{counted(min_products, 'product')} of as many different styles{unsplit}. The largest: "
        f"{largest_first(sizes)}. Try {' or '.join(options) or 'again with more products'}"
    )


def flags_that_help(sizes: Sizes, min_products: int, by_depth: Mapping[int, Sizes]) -> list[str]:
    """The flags with which two categories or more would be large enough, with their number."""

    def large(level: Sizes, least: int) -> int:
        return sum(min(size) >= least for size in level.values())

    options = []
    lower = next((n for n in (50, ENOUGH) if n < min_products and large(sizes, n) >= 2), None)
    if lower:
        options.append(f"--min-products {lower} ({large(sizes, lower)} categories)")
    for least in (min_products, ENOUGH):
        flag = f" --min-products {least}" if least < min_products else ""
        for depth in sorted(by_depth, reverse=True):
            count = large(by_depth[depth], least)
            if count >= 2 and least <= min_products:
                return [*options, f"--depth {depth}{flag} ({count} categories)"]
    return options
