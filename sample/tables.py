"""Two catalogue files out of the drawn catalogue, for README's six commands: one with categories
and one without.

In: nothing. Out: products.tsv and new-products.tsv in this folder. Every run writes the same bytes;
tests/test_sample.py compares them with the files of the repository.

    python sample/tables.py
    python sample/tables.py --folder somewhere-else
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from sample.catalogue import make_catalogue  # noqa: E402  (run from whatever folder)

LEAVES = set(
    "bootcut-jeans flare-jeans skinny-jeans clutches tote-bags satchels cocktail-dresses"
    " day-dresses pumps sandals bracelets diamond-bracelets".split()
)
EVERY, PER_LEAF, SEED = 6, 80, 3  # each sixth product loses its category
ENOUGH = 90  # characters, after which the description ends with a sentence


def harmless(text):
    """The text without the script that the stand-in shop hides in it to test the pages."""
    return text.split(" <script>")[0]


def shortened(description):
    """The first sentences of a description. A list in HTML is kept whole."""
    description = harmless(description)
    end = description.find(". ", ENOUGH)
    return description if end < 0 or "<ul>" in description else description[: end + 1]


def make_tables():
    """{file name: its text}, of 800 products with a category and 160 without."""
    catalogue = make_catalogue(156, PER_LEAF, SEED)
    categories = {category.id: category for category in catalogue.categories}
    products = [product for product in catalogue.products if product.categories[0] in LEAVES]
    labelled, new = ["id\ttitle\tdescription\tproduct_type"], ["id\ttitle\tdescription"]
    for number, product in enumerate(products, 1):
        leaf = categories[product.categories[0]]
        row = f"{number:04}\t{harmless(product.name)}\t{shortened(product.description)}"
        if number % EVERY:
            labelled.append(f"{row}\t{categories[leaf.parent_id].name} > {leaf.name}")
        else:
            new.append(row)
    return {"products.tsv": "\n".join([*labelled, ""]), "new-products.tsv": "\n".join([*new, ""])}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--folder",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="where to write them (default: the folder of this file)",
    )
    folder = parser.parse_args(argv).folder
    for name, text in make_tables().items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
