"""Six category trees as shops have them, drawn by a program: products of invented words.

A tree is a dict {path of a category: (styles, colours of each style)}, and only the paths with
products of their own stand in it. `products` draws the products of a tree, `new_products` draws
products without a category, and `write` puts them into a feed. The same arguments always draw the
same products. test_trees.py runs README's commands on each tree; benchmarks/trees.py draws
MANY_LEAVES at its full size.
"""

import itertools
import random

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
HEADER = "id\ttitle\tdescription\tproduct_type\titem_group_id"
WORDS_OF_CATEGORIES, OTHER_WORDS = 4000, 3000
COLOURS, STYLE_NAMES = 12, 20_000


def word(number):
    """An invented word: each number has one of its own, of three syllables or more."""
    syllables = []
    while len(syllables) < 3 or number:
        number, place = divmod(number, len(SYLLABLES))
        syllables.append(SYLLABLES[place])
    return "".join(syllables)


# ---- the trees ----------------------------------------------------------------------------------


def even(leaves=6, styles=40):
    """As many products in each leaf, three leaves a parent."""
    return {f"{title(leaf // 3)} > {title(100 + leaf)}": (styles, 1) for leaf in range(leaves)}


def giant_and_tiny(giant=300, tiny=100):
    """One leaf of `giant` products beside `tiny` leaves of one to six."""
    small = {
        f"{title(1 + leaf % 4)} > {title(100 + leaf)}": (1 + leaf % 6, 1) for leaf in range(tiny)
    }
    return {f"{title(0)} > {title(99)}": (giant, 1), **small}


def three_levels(styles=20):
    """Products at the top, at categories below it, and at the leaves below those."""
    tree = {}
    for top, middle in itertools.product(range(3), range(2)):
        above = f"{title(top)} > {title(10 + 2 * top + middle)}"
        tree[title(top)] = tree[above] = (styles, 1)
        for leaf in range(2):
            tree[f"{above} > {title(100 + 4 * top + 2 * middle + leaf)}"] = (styles, 1)
    return tree


def product_names(tops=4, leaves=40):
    """Leaves that are product names: each has one product, every tenth has two."""
    return {
        f"{title(top)} > {title(100 + leaves * top + leaf)}": (1 + (leaf % 10 == 0), 1)
        for top, leaf in itertools.product(range(tops), range(leaves))
    }


def one_style_a_leaf(tops=4, leaves=25, colours=8):
    """Leaves of one style each, which comes in several colours."""
    return {
        f"{title(top)} > {title(100 + leaves * top + leaf)}": (1, colours)
        for top, leaf in itertools.product(range(tops), range(leaves))
    }


def many_leaves(products=600, leaves=60):
    """The same number of products in each of many leaves, at the third level."""
    return {
        f"{title(leaf % 20)} > {title(100 + leaf % 200)} > {title(1000 + leaf)}": (
            products // leaves,
            1,
        )
        for leaf in range(leaves)
    }


# ---- their products -----------------------------------------------------------------------------


def title(number):
    """The name of a category, or of a style."""
    return word(10_000 + number).title()


def words_of(path, count):
    """The words that products of a category have, the same at every call."""
    rng = random.Random(path)
    return [word(rng.randrange(WORDS_OF_CATEGORIES)) for _ in range(count)]


def names_of(path):
    """The paths of a category and of all above it, the top first."""
    return itertools.accumulate(path.split(" > "), "{} > {}".format)


def products(tree, seed=0, first=1, strange=0.0):
    """Yield (id, title, description, category, item group) of all products of a tree; their styles
    are numbered from `first`. The share `strange` has the words of another category, so that a
    classifier errs."""
    rng, number, paths = random.Random(seed), itertools.count(first), list(tree)
    for path, (styles, colours) in tree.items():
        own = words_of(path, 8)
        above = [name for part in names_of(path) for name in words_of(part, 4)]
        for _ in range(styles):
            style = next(number)
            said = words_of(rng.choice(paths), 8) if strange and rng.random() < strange else own
            named = f"{title(10_000 + style % STYLE_NAMES)} {' '.join(rng.sample(said, 2))}"
            text = " ".join(
                rng.sample(said, 4)
                + rng.sample(above, 3)
                + [word(5000 + rng.randrange(OTHER_WORDS)) for _ in range(5)]
            )
            for colour in range(colours):
                in_colour = f"{named} {word(9000 + colour % COLOURS)}" if colours > 1 else named
                yield f"{style}-{colour}", in_colour, text, path, f"style-{style}"


def new_products(tree, count=40, seed=1):
    """Yield `count` products of a tree as `products` does, without a category."""
    rng = random.Random(seed)
    paths = rng.choices(list(tree), k=count)
    for number, path in enumerate(paths):
        drawn = products({path: (1, 1)}, f"{seed} {number}", 1_000_000 + number)
        ((_, named, text, _, _),) = drawn
        yield f"new-{number}", named, text, "", ""


def write(path, rows):
    """Write rows of `products` or `new_products` into a feed of tab-separated values."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        for row in rows:
            file.write("\t".join(row) + "\n")
    return path
