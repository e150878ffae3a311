"""Is the promise kept in a shop whose colours are rows of their own, without item_group_id?

In: nothing; it draws such shops. A style has a name of 5 to 9 words with its colour, and a row for
each of its colours; some names tell only the parent, or another leaf of it. A third is hidden, with
--new styles whole styles, with --new colours single colours, so that most have a labelled sibling.
Words are trained with --folds 10 and the hidden third is filed at --target. Out, on stdout: for
each run what was filed, how much of it is right by the hidden labels, how many had a near-duplicate
among those that their model learned from, and why it was refused; then in how many of the runs the
promise was kept. What follows -- goes to the classifier.

    python benchmarks/variants.py --colours 2 --runs 20 --new styles
    python benchmarks/variants.py --colours 2,3 --runs 5 --new styles -- --split-by group
"""

import argparse
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import put_to_work

LEAVES, PARENTS, TARGET = 20, 5, 95
CLEAR, MISLEADING = 0.89, 0.005  # shares of styles whose names say their leaf, or perhaps another
COLOURS = (
    "black white blue navy red green grey brown pink yellow purple orange beige olive teal cream"
).split()


def draw(styles, colours, seed):
    """[(style, colour, name, path)] of a shop."""
    rng = random.Random(seed)
    own = [[f"kind{leaf}x{i}" for i in range(4)] for leaf in range(LEAVES)]
    above = [[f"family{parent}x{i}" for i in range(8)] for parent in range(PARENTS)]
    filling, rows = [f"word{i}" for i in range(500)], []
    for style in range(styles):
        leaf, chance = rng.randrange(LEAVES), rng.random()
        parent = leaf % PARENTS
        said = leaf if chance < CLEAR else rng.randrange(parent, LEAVES, PARENTS)
        words = [rng.choice(above[parent]), *rng.sample(filling, rng.randint(2, 6))]
        words.append(rng.choice(own[said] if chance < CLEAR + MISLEADING else above[parent]))
        rng.shuffle(words)
        for colour in rng.sample(COLOURS, colours):
            rows.append(
                (style, colour, " ".join([*words, colour]), f"Family {parent} > Leaf {leaf}")
            )
    return rows


def write(folder, rows, new, seed):
    """labelled.tsv and new.tsv in the folder. Returns {external id of a new row: (its leaf, the
    parent of that)}."""
    rng, truth = random.Random(f"hide {seed}"), {}
    hidden = {style for style in dict.fromkeys(row[0] for row in rows) if rng.random() < 1 / 3}
    head = "id\ttitle\tproduct_type\n"
    with open(folder / "labelled.tsv", "w") as labelled, open(folder / "new.tsv", "w") as waiting:
        labelled.write(head)
        waiting.write(head)
        for number, (style, _, name, path) in enumerate(rows):
            if (style in hidden) if new == "styles" else rng.random() < 1 / 3:
                waiting.write(f"{number}\t{name}\t\n")
                leaf = path.replace(" > ", ".").replace(" ", "-").lower()
                truth[str(number)] = leaf, leaf.split(".")[0]
            else:
                labelled.write(f"{number}\t{name}\t{path}\n")
    return truth


def measured(path):
    """(the accuracy that was measured, shares of near-duplicates: of the products that were
    measured, and of the new ones)."""
    with sqlite3.connect(path) as conn:
        values = conn.execute("""select avg(category_id = label_id), avg(twin),
                                 (select avg(twin) from filing) from predicted_category""").fetchone()
    conn.close()
    return values


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--colours", default="1,2,3,5", metavar="N,N")
    parser.add_argument("--styles", type=int, default=1200, metavar="N")
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--new", choices=("styles", "colours"), default="styles")
    parser.add_argument("--target", type=int, default=TARGET, metavar="PERCENT")
    parser.add_argument("more", nargs="*", help="arguments of the classifier, behind --")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    print(
        "| colours | run | measured | leaf | right | parent | right | person | near-duplicates, of "
        "those measured and of new | refused |\n|" + "---|" * 10
    )
    for colours in map(int, args.colours.split(",")):
        kept = refused = filed = 0
        for seed in range(1, args.runs + 1):
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                path = folder / "crawl.db"
                truth = write(folder, draw(args.styles, colours, seed), args.new, seed)
                for feed, more in (("labelled", ()), ("new", ("--unlabelled",))):
                    subprocess.run(
                        [
                            sys.executable,
                            put_to_work.ROOT / "crawl.py",
                            "--feed",
                            folder / f"{feed}.tsv",
                            "--db-path",
                            path,
                            *more,
                        ],
                        capture_output=True,
                        check=True,
                    )
                put_to_work.run(
                    "words", "--db-path", path, "--min-products", 5, "--folds", 10, *args.more
                )
                done = put_to_work.run(
                    "words", "--db-path", path, "--apply", 1, "--target", args.target, "--floor", 0
                )
                found = put_to_work.judge(path, truth)
                accuracy, *twins = measured(path)
            why = " ".join(re.findall("which differ.*?: (.*)", done.stderr))
            refused += bool(why)
            filed += found["leaf"][0] > 0
            kept += all(
                100 * right >= args.target * count
                for level, (count, right) in found.items()
                if level != "person"
            )
            print(
                f"| {colours} | {seed} | {100 * accuracy:.1f} % | {put_to_work.shares(found)} | "
                f"{100 * twins[0]:.0f}, {100 * twins[1]:.0f} % | {why} |",
                flush=True,
            )
        print(
            f"\n{colours} colours, new {args.new}: kept in {kept} of {args.runs}, filed at "
            f"leaves in {filed}, refused in {refused}\n",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
