"""What a person's review of products without a category brings: the loop of "Put it to work".

In: a crawl.db with labelled products. Labels of half of them are hidden, as in put_to_work.py; a
classifier of text is trained on the rest and applied; then so many of the products that it did not
file at a leaf get their hidden label, as if a person had chosen it on the review page, and all is
done again. Out, on stdout: for each order of review and number of reviewed products how much of all
that were hidden the machine files, and how much of that is right; means over --halves, and the
range.

    python benchmarks/review_gain.py --halves 5
    python benchmarks/review_gain.py --orders unsure,sure,chance,spread --reviewed 0,200,1000
"""

import argparse
import random
import sqlite3
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from put_to_work import halve, judge, run

ORDERS = {
    "unsure": "level = 'parent', leaf_score",
    "sure": "level = 'parent', leaf_score desc",
    "chance": "chance(product_id)",
    # The least sure of each likeliest leaf, then the second of each: no kind again and again.
    "spread": "row_number() over (partition by leaf_id order by level = 'parent', leaf_score), "
    "leaf_score",
}


def review(path, order, count):
    """Take over the hidden label of so many products that the last experiment did not file at a
    leaf, in that order."""
    conn, rng = sqlite3.connect(path), random.Random(7)
    conn.create_function("chance", 1, lambda _: rng.random())
    with conn:
        conn.execute(
            f"""insert into label_override select product_id, 'filed by hand',
                         hidden.category_id, null, datetime() from filing join hidden
                         using (product_id) where level <> 'leaf' and experiment_id = (
                             select max(experiment_id) from filing)
                         order by {ORDERS[order]} limit ?""",
            (count,),
        )
        conn.execute("delete from filing")
    conn.close()


def cells_of(count, some):
    """The cells of a row: shares that were filed and right, of `some` halves with `count` reviewed."""
    cells = []
    for level in ("leaf", "parent", "person"):
        # Of all that were hidden: those reviewed are no longer among what is filed.
        taken = [100 * own[level][0] / (count + sum(n for n, _ in own.values())) for own in some]
        cells.append(f"{statistics.mean(taken):.1f} % ({min(taken):.1f} to {max(taken):.1f})")
        right = [100 * own[level][1] / own[level][0] for own in some if own[level][0]]
        if level != "person":
            cells.append(f"{statistics.mean(right):.2f} %" if right else "-")
    return cells


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument("--halves", type=int, default=5, metavar="N")
    parser.add_argument("--min-products", type=int, default=5, metavar="N")
    parser.add_argument("--target", default="95", metavar="N")
    parser.add_argument("--reviewed", default="0,200,1000", metavar="N,N")
    parser.add_argument("--orders", default="unsure,sure,chance", metavar="A,B")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    steps = [int(count) for count in args.reviewed.split(",")]
    print(
        "| order | reviewed | filed at leaf | right | filed at parent | right | left |\n"
        "|---|---|---|---|---|---|---|"
    )
    for order in args.orders.split(","):
        found = {count: [] for count in steps}
        for half in range(1, args.halves + 1):
            with tempfile.TemporaryDirectory() as folder:
                copy, before = Path(folder) / "crawl.db", 0
                halve(args.db_path, copy, half)
                for count in steps:
                    if count > before:
                        review(copy, order, count - before)
                        before = count
                    run(
                        "words",
                        "--db-path",
                        copy,
                        "--min-products",
                        args.min_products,
                        "--folds",
                        10,
                    )
                    with sqlite3.connect(copy) as conn:
                        (number,) = conn.execute("select max(id) from experiment").fetchone()
                    conn.close()
                    run(
                        "words",
                        "--db-path",
                        copy,
                        "--apply",
                        number,
                        "--target",
                        args.target,
                        "--floor",
                        0,
                        "--file-anyway",
                    )
                    found[count].append(judge(copy))
        for count, some in found.items():
            print(f"| {order} | {count} | " + " | ".join(cells_of(count, some)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
