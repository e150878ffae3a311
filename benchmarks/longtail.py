"""Is the promise kept, and much filed, in a shop with hundreds of leaves, most of them tiny?

In: nothing; it draws such shops. The leaves' sizes fall by a power law, half of those with fewer
than 12 products use the words of a large leaf, and a few products are filed in a wrong leaf. A
third is hidden. Words are trained with --folds 10, and the hidden third is filed. Or --feeds: folders
that hold labelled.tsv, hidden.tsv (the same columns, without a category) and truth.tsv (id and leaf
id), made by somebody else. Out, on stdout: for each shop what was filed, how much of it is right by
the hidden labels, and why something was refused; then in how many the promise was kept.

    python benchmarks/longtail.py --leaves 400 --runs 20
    python benchmarks/longtail.py --feeds shop-1 shop-2
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import put_to_work

PARENTS, LARGE, TINY = 13, 200, 12  # products of a leaf
POWER = 1.15  # of the sizes: the leaf of rank r has about r ** -POWER


def draw(folder, products, leaves, mislabelled, seed):
    """Write labelled.tsv, hidden.tsv and truth.tsv of a shop into the folder."""
    rng = random.Random(seed)
    weights = [rank**-POWER for rank in range(1, leaves + 1)]
    sizes = [max(1, round(products * weight / sum(weights))) for weight in weights]
    ranks = rng.sample(range(leaves), leaves)  # of each leaf, so that its parent says nothing
    size = [sizes[rank] for rank in ranks]
    large = [leaf for leaf in range(leaves) if size[leaf] > LARGE] or list(range(leaves))
    words = [[f"leaf{leaf}w{i}" for i in range(12)] for leaf in range(leaves)]
    for leaf in range(0, leaves, 2):
        if size[leaf] < TINY:
            words[leaf] = words[rng.choice(large)]
    rows = []
    for leaf in range(leaves):
        for _ in range(size[leaf]):
            label = rng.choice(large) if rng.random() < mislabelled else leaf
            rows.append((name(words[leaf], leaf % PARENTS, rng), label))
    rng.shuffle(rows)
    with (
        open(folder / "labelled.tsv", "w") as labelled,
        open(folder / "hidden.tsv", "w") as hidden,
        open(folder / "truth.tsv", "w") as truth,
    ):
        for file in (labelled, hidden):
            file.write("id\ttitle\tproduct_type\n")
        for number, (title, label) in enumerate(rows):
            parent = label % PARENTS
            if number % 3:
                labelled.write(f"{number}\t{title}\tTop{parent} > Leaf{label}\n")
            else:
                hidden.write(f"{number}\t{title}\t\n")
                truth.write(f"{number}\ttop{parent}.leaf{label}\n")


def name(words, parent, rng):
    """A product's name: words of its leaf, the more of them the clearer it is, of its parent, and
    of no meaning."""
    clear = rng.random() ** 0.4 / 2
    return " ".join(
        rng.choice(words)
        if rng.random() < clear
        else f"parent{parent}w{rng.randrange(25)}"
        if rng.random() < 0.3
        else f"word{rng.randrange(3000)}"
        for _ in range(rng.randrange(4, 9))
    )


def file_hidden(folder, work, args):
    """Load, train and file. Returns ({level: (products, right ones)}, what --apply said)."""
    path = work / "crawl.db"
    for feed, more in (("labelled", ()), ("hidden", ("--unlabelled",))):
        subprocess.run(
            [
                sys.executable,
                put_to_work.ROOT / "crawl.py",
                "--feed",
                folder / f"{feed}.tsv",
                "--source",
                "shop",
                "--db-path",
                path,
                *more,
            ],
            capture_output=True,
            check=True,
        )
    put_to_work.run(
        "words", "--db-path", path, "--min-products", args.min_products, "--folds", 10, *args.more
    )
    done = put_to_work.run(
        "words", "--db-path", path, "--apply", 1, "--target", args.target, "--floor", 0
    )
    truth = {
        number: (label, label.rpartition(".")[0])
        for number, label in map(str.split, open(folder / "truth.tsv"))
    }
    return put_to_work.judge(path, truth), done.stderr


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--products", type=int, default=30_000, metavar="N")
    parser.add_argument("--leaves", type=int, default=400, metavar="N")
    parser.add_argument("--mislabelled", type=float, default=0.01, metavar="SHARE")
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--feeds", nargs="+", default=[], metavar="DIR")
    parser.add_argument("--min-products", type=int, default=8, metavar="N")
    parser.add_argument("--target", type=int, default=95, metavar="PERCENT")
    parser.add_argument("--verbose", action="store_true", help="show what --apply says")
    parser.add_argument("--more", nargs="*", default=[], help="arguments of the classifier")
    args = parser.parse_args(argv)
    shops = args.feeds or range(1, args.runs + 1)
    kept, refused = {"leaf": [], "parent": []}, 0
    print("| shop | leaf | right | parent | right | person | refused |\n" + "|---" * 7 + "|")
    for shop in shops:
        with tempfile.TemporaryDirectory() as work:
            work = Path(work)
            if not args.feeds:
                draw(work, args.products, args.leaves, args.mislabelled, shop)
            found, said = file_hidden(Path(shop) if args.feeds else work, work, args)
        refused += "is not promised" in said
        for level, hits in kept.items():
            count, right = found[level]
            if count:
                hits.append(100 * right >= args.target * count)
        print(
            f"| {shop} | {put_to_work.shares(found)} | "
            f"{'yes' if 'is not promised' in said else ''} |",
            flush=True,
        )
        if args.verbose:
            print(said, file=sys.stderr, flush=True)
    print(
        "\n"
        + ", ".join(
            f"{level}: kept in {sum(hits)} of the {len(hits)} in which something was filed"
            for level, hits in kept.items()
        )
        + f"; refused in {refused} of {len(shops)}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
