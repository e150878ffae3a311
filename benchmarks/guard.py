"""What does --apply refuse: what differs, and only that?

In: a crawl.db with labelled products (its experiments are not used). For each half, drawn by group,
a copy is made, words are trained on the labelled half with --folds 10, and the other half is
answered. Then batches are drawn of those answers and judged as --apply judges new products:

    as they come   any of them
    hard           three times as many of the leaves in which the model errs most as usual
    shifted        a third of the batch is of a few leaves, drawn at random
    unseen         a tenth is of a leaf that has no labelled product, and that the model takes for
                   another one surely (labelled products of one such leaf are hidden in every half)

Out, on stdout, by size and kind of batch: in how many the promise would have been broken at leaves if
all had been filed that passes the threshold (by more than chance: with 95 % confidence), and how
many were refused of those, of the others in which it was broken at all, and of those that kept it.

    python benchmarks/guard.py --halves 3 --min-products 5
    python benchmarks/guard.py --halves 1 --batches 10 --sizes 200,1000 --target 98
"""

import argparse
import random
import sqlite3
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import put_to_work

sys.path.insert(0, str(put_to_work.ROOT))

import db
from evaluation import filing_queries, guarantees, refusals
from learning import metrics, model_folders, saved_models

HARD = 0.16  # of the labelled products are of the hard leaves


def hide_a_leaf(path, rng):
    """Take the labels of a leaf that stands beside others below its parent, so that it has no
    labelled product. Returns its id, or None if there is none of 50 products or more."""
    conn = sqlite3.connect(path)
    with conn:
        leaves = [
            leaf
            for (leaf,) in conn.execute("""
            select hidden.category_id from hidden group by 1
            having count(*) between 50 and (select count(*) / 20 from hidden) order by 1""")
        ]
        leaf = rng.choice(leaves) if leaves else None
        conn.execute(
            """insert into hidden select id, category_id from product
                        where category_id = ? on conflict do nothing""",
            (leaf,),
        )
        conn.execute("update product set category_id = null where category_id = ?", (leaf,))
        conn.execute("delete from product_category where category_id = ?", (leaf,))
        conn.execute("update category set product_count = 0 where id = ?", (leaf,))
    conn.close()
    return leaf


def draw(kind, size, hidden, unseen, hard, rng):
    """Product ids of a batch; hidden is {id: leaf}."""
    usual = [number for number, leaf in hidden.items() if leaf != unseen]
    if kind == "as they come":
        return rng.sample(usual, min(size, len(usual)))
    if kind == "unseen":
        special, share = [n for n, leaf in hidden.items() if leaf == unseen], 0.1
    elif kind == "hard":
        special, share = [n for n in usual if hidden[n] in hard], 3 * HARD
    else:
        leaves, special, share = sorted(set(hidden.values())), [], 1 / 3
        rng.shuffle(leaves)
        while len(special) < size / 3 and leaves:
            leaf = leaves.pop()
            special += [n for n in usual if hidden[n] == leaf]
    size = min(size, int(len(special) / share), len(usual))
    chosen = rng.sample(special, int(size * share))
    taken = set(chosen)
    rest = [n for n in usual if n not in taken and not (kind == "hard" and hidden[n] in hard)]
    return chosen + rng.sample(rest, min(len(rest), size - len(chosen)))


def judge(conn, number, described, labelled, promise, batch, hidden, source):
    """(refused or not, products that pass the leaf's threshold, how many of them are wrong)."""
    conn.execute("begin")
    try:
        conn.execute("create temp table if not exists batch(id integer primary key)")
        conn.execute("delete from batch")
        conn.executemany("insert into batch values (?)", [(number,) for number in batch])
        conn.execute("""delete from filing where product_id in (select product_id from hidden)
                        and product_id not in (select id from batch)""")
        thresholds, *_ = refusals.for_source(conn, number, described, source, labelled, promise)
        passed = conn.execute(
            """select product_id, leaf_id from filing join batch
                                 on id = product_id where experiment_id = ? and leaf_score >= ?""",
            (number, promise["leaf"]),
        ).fetchall()
    finally:
        conn.execute("rollback")
    wrong = sum(hidden[number] != leaf for number, leaf in passed)
    return thresholds["leaf"] > promise["leaf"], len(passed), wrong


def run_half(args, half, found):
    """Judge the batches of one half into found {(kind, size): [(refused, passed, wrong)]}."""
    rng = random.Random(f"guard {half}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crawl.db"
        put_to_work.halve(args.db_path, path, half)
        unseen = hide_a_leaf(path, rng)
        put_to_work.run(
            "words",
            "--db-path",
            path,
            "--min-products",
            args.min_products,
            "--folds",
            10,
            *args.more,
        )
        conn = db.open_database(str(path))
        (number,) = conn.execute("select max(id) from experiment").fetchone()
        put_to_work.run(
            "words", "--db-path", path, "--apply", number, "--target", args.target, "--floor", 0
        )
        _, described = saved_models.load_model(
            f"{model_folders.models_folder(str(path))}/experiment-{number}"
        )
        promise = guarantees.promise(conn, number, described["categories"], args.target / 100, 0.95)
        if promise["leaf"] is None:
            print(f"half {half}: nothing can be promised at leaves", file=sys.stderr)
            return
        labelled = refusals.labelled_rows(conn, number, described, promise)
        hard = hard_leaves(*labelled[:2])
        hidden = dict(conn.execute("select product_id, category_id from hidden order by 1"))
        (source,) = filing_queries.unfiled_sources(conn)
        for kind in ("as they come", "hard", "shifted", "unseen"):
            for size in args.sizes:
                for _ in range(args.batches):
                    batch = draw(kind, size, hidden, unseen, hard, rng)
                    if len(batch) >= 0.8 * size:
                        found[kind, size].append(
                            judge(conn, number, described, labelled, promise, batch, hidden, source)
                        )
            print(f"half {half}, {kind}: done", file=sys.stderr, flush=True)
        conn.close()


def hard_leaves(names, rows):
    """The leaves in which the model errs most, that hold HARD of the labelled products."""
    right, leaves, count = defaultdict(list), set(), 0
    for label, predicted in zip(rows["label"].tolist(), rows["predicted"].tolist()):
        right[label].append(label == predicted)
    for label in sorted(right, key=lambda own: sum(right[own]) / len(right[own])):
        if count < HARD * len(rows):
            leaves.add(names[label])
            count += len(right[label])
    return leaves


def table(found, target):
    """Lines of the table."""
    yield (
        "| batch | products | batches | broken beyond chance | refused | broken | refused | kept "
        "| refused |"
    )
    yield "|---" * 9 + "|"
    for (kind, size), rows in found.items():
        groups = {"surely": [], "broken": [], "kept": []}
        for refused, passed, wrong in rows:
            share = 1 - wrong / passed if passed else 1.0
            surely = metrics.wilson(passed - wrong, passed, 0.9)[1] < target if passed else False
            groups["surely" if surely else "broken" if share < target else "kept"].append(refused)
        yield (
            f"| {kind} | {size} | {len(rows)} | "
            + " | ".join(f"{len(own)} | {sum(own)}" for own in groups.values())
            + " |"
        )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument("--halves", type=int, default=3, metavar="N")
    parser.add_argument("--batches", type=int, default=20, metavar="N", help="of a kind and size")
    parser.add_argument("--sizes", default="50,200,1000,3000", metavar="N,N")
    parser.add_argument("--min-products", type=int, default=5, metavar="N")
    parser.add_argument("--target", type=float, default=95, metavar="PERCENT")
    parser.add_argument("more", nargs="*", help="arguments of the classifier, behind --")
    args = parser.parse_args(argv)
    args.sizes, found = [int(size) for size in args.sizes.split(",")], defaultdict(list)
    for half in range(1, args.halves + 1):
        run_half(args, half, found)
    for line in table(found, args.target / 100):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
