"""Does what --apply files keep its promise? Labels of half of a catalogue are hidden, and found.

In: a crawl.db with labelled products (its experiments are not used). For each half, drawn by group,
a copy is made, a classifier trained on the labelled half with --folds 10, and applied to the other
at each target. Out, on stdout: for each half and target the shares filed at leaf, at parent and
left to a person, with how much of it is right by the hidden labels, and whether the products were
said to differ; then in how many halves the promise held. What follows -- goes to the classifier.

--hard keeps of the hidden products only those of the leaves that the model errs in most, until they
hold that share of the labelled ones, and of the others 39 %. --known-only files by thresholds
that are certified as if all products to come were of leaves that the model knows.

    python benchmarks/put_to_work.py --kind words --halves 20
    python benchmarks/put_to_work.py --kind both --halves 5 -- --weights FILE --layer mixed8
    python benchmarks/put_to_work.py --halves 1 --hard 16 --targets 90,95,98
"""

import argparse
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import db
from evaluation import filing_queries, guarantees

KEPT = 0.39  # of the hidden products of leaves that are not hard


def halve(source, target, seed):
    """A copy of a crawl.db without experiments, in which half of the groups have no category; the
    table `hidden` has theirs."""
    conn, old = sqlite3.connect(target), sqlite3.connect(source)
    old.backup(conn)
    old.close()
    rng = random.Random(seed)
    with conn:
        for table in ("experiment", "predicted_category", "validation_prediction"):
            conn.execute(f"delete from {table}")
        groups = [
            group
            for (group,) in conn.execute(
                "select distinct group_key from product order by group_key"
            )
        ]
        conn.execute("create table hidden(product_id integer primary key, category_id text)")
        conn.execute("create temp table half(group_key text primary key)")
        conn.executemany(
            "insert into half values (?)", [(group,) for group in groups if rng.random() < 0.5]
        )
        conn.execute("""insert into hidden select id, category_id from product
                        where group_key in (select group_key from half)
                        and category_id in (select id from category where leaf = 1)""")
        conn.execute("""update product set category_id = null
                        where id in (select product_id from hidden)""")
        conn.execute("""update category set product_count = (
                        select count(*) from product where category_id = category.id)""")
    conn.close()


def keep_hard(path, number, percent, seed):
    """Leave of the hidden products all of the leaves in which an experiment errs most, as many as
    hold `percent` of its products, and KEPT of the others."""
    rng, hard, some = random.Random(seed), set(), 0
    conn = sqlite3.connect(path)
    with conn:
        leaves = conn.execute(
            """
            select label_id, count(*) from predicted_category where experiment_id = ?
            group by label_id order by avg(label_id = category_id)""",
            (number,),
        ).fetchall()
        for leaf, count in leaves:
            if some < percent / 100 * sum(count for _, count in leaves):
                hard.add(leaf)
                some += count
        conn.executemany(
            "delete from product where id = ?",
            [
                (product,)
                for product, leaf in conn.execute(
                    "select product_id, category_id from hidden order by product_id"
                ).fetchall()
                if leaf not in hard and rng.random() >= KEPT
            ],
        )
    conn.close()


def file_as_if_known(path, number, target):
    """File again by what is promised where no product is of a leaf that the model does not know."""
    conn = db.open_database(str(path))
    thresholds = guarantees.promised_thresholds(guarantees.promise(conn, number, (), target, 0.95))
    with db.transaction(conn):
        for source in filing_queries.unfiled_sources(conn):
            filing_queries.file_products(conn, number, source, **thresholds)
    conn.close()


def judge(path, truth=None):
    """{level: (products, right ones)} of what was filed, by the hidden labels, which are those of
    the table `hidden`, or truth, {external id: (leaf, its parent)}."""
    with sqlite3.connect(path) as conn:
        if truth is None:
            above = {
                name: ([None, *(tree or "").split("/")][-2]) or name
                for name, tree in conn.execute("select id, path from category")
            }
            filed = [
                (level, category, label, above[label])
                for level, category, label in conn.execute("""select level, filing.category_id, hidden.category_id
                                     from filing join hidden using (product_id)""")
            ]
        else:
            filed = [
                (level, category, *truth[name])
                for name, level, category in conn.execute(
                    """select external_id, level, filing.category_id from filing
                   join product on id = product_id where level is not null"""
                )
            ]
    conn.close()
    judged = {level: [0, 0] for level in ("leaf", "parent", "person")}
    for level, category, leaf, parent in filed:
        judged[level][0] += 1
        judged[level][1] += category == (leaf if level == "leaf" else parent)
    return judged


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, ROOT / f"categorize_{script}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return done


def shares(found):
    total = sum(count for count, _ in found.values())
    return " | ".join(
        f"{100 * count / total:.1f} %"
        + (
            f" | {100 * right / count:.2f} %"
            if level != "person" and count
            else " | -"
            if level != "person"
            else ""
        )
        for level, (count, right) in found.items()
    )


def print_totals(kind, kept):
    """Print what was filed and right over all halves; kept is {target: [what judge found]}."""
    for target, some in kept.items():
        line = []
        for level in ("leaf", "parent"):
            right = [100 * hits / count for count, hits in (one[level] for one in some) if count]
            share = [100 * one[level][0] / sum(count for count, _ in one.values()) for one in some]
            line.append(
                f"{level}: {statistics.mean(share):.1f} % filed ({min(share):.1f} to "
                f"{max(share):.1f}), {statistics.mean(right or [0]):.2f} % of it right "
                f"({min(right or [0]):.2f} to {max(right or [0]):.2f}), kept in "
                f"{sum(one >= float(target) for one in right)} of {len(right)}"
            )
        print(f"{kind} at {target} %, {len(some)} halves: " + "; ".join(line))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument("--kind", choices=("words", "images", "both"), default="words")
    parser.add_argument("--halves", type=int, default=20, metavar="N")
    parser.add_argument("--min-products", type=int, default=25, metavar="N")
    parser.add_argument("--targets", default="95,98", metavar="N,N")
    parser.add_argument("--hard", type=float, metavar="PERCENT")
    parser.add_argument("--known-only", action="store_true")
    parser.add_argument("more", nargs="*", help="arguments of the classifier, behind --")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    targets, kept, drifted = args.targets.split(","), {}, 0
    print(
        "| half | target | leaf | right | parent | right | person | said to differ |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for half in range(1, args.halves + 1):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "crawl.db"
            halve(args.db_path, copy, half)
            run(
                args.kind,
                "--db-path",
                copy,
                "--min-products",
                args.min_products,
                "--folds",
                10,
                *args.more,
            )
            with sqlite3.connect(copy) as conn:
                (number,) = conn.execute("select max(id) from experiment").fetchone()
            if args.hard:
                keep_hard(copy, number, args.hard, half)
            for target in targets:
                done = run(
                    args.kind,
                    "--db-path",
                    copy,
                    "--apply",
                    number,
                    "--target",
                    target,
                    "--floor",
                    0,
                    "--file-anyway",
                    *args.more,
                )
                differs = "is not promised" in done.stderr
                drifted += differs
                if args.known_only:
                    file_as_if_known(copy, number, float(target) / 100)
                found = judge(copy)
                print(
                    f"| {half} | {target} | {shares(found)} | {'yes' if differs else ''} |",
                    flush=True,
                )
                kept.setdefault(target, []).append(found)
    print()
    print_totals(args.kind, kept)
    print(f"said to differ: {drifted} of {args.halves * len(targets)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
