"""A drawn crawl.db of up to ten million products, for ten_million.py.

In: how many products. Out, in a folder: crawl.db with 1,000 leaves, two colours of each style, a
picture of each product, a tenth as many more products that wait to be filed, two experiments and
one model; feeds of all products and of a tenth, changed; CSV files of decisions and of a move. The
first products are loaded and learned by the suite itself; the others, their pictures and
predictions, and the answers for those that wait are drawn, and inserted by the suite's own functions.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LEAVES, COLOURS = 1000, 2
LEARNED = 20  # products of each leaf that are loaded and learned by the suite's own commands
BATCH = 10_000
ASKED = 10_000  # products that wait without an answer, and decisions of a person
HEADER = "id\ttitle\tdescription\tproduct_type\timage_link\titem_group_id\n"


def drawn(first, last, labelled):
    """Yield lists of rows (number, name, description, category, group, leaf) of the products from
    `first` on, before `last`. Those behind the number `labelled` have no category."""
    import numpy as np

    from tests.trees import title, word

    words = np.array([word(5000 + number) for number in range(20_000)], object)
    colours = [word(9000 + number) for number in range(COLOURS)]
    leaf_words = np.random.default_rng(0).integers(4000, size=(LEAVES, 8))
    paths = [
        f"{title(leaf % 10)} > {title(100 + leaf % 100)} > {title(1000 + leaf)}"
        for leaf in range(LEAVES)
    ]
    for start in range(first, last, BATCH):
        numbers = np.arange(start, min(start + BATCH, last))
        styles = np.unique(numbers // COLOURS)
        rng = np.random.default_rng(start)
        place = rng.permuted(np.tile(np.arange(8), (len(styles), 1)), axis=1)
        said = words[leaf_words[styles % LEAVES][np.arange(len(styles))[:, None], place]]
        other = words[rng.integers(4000, 20_000, size=(len(styles), 9))]
        texts = {
            style: (" ".join([*own[:2], more[0]]), " ".join([*own[2:6], *more[1:]]))
            for style, own, more in zip(styles.tolist(), said.tolist(), other.tolist())
        }
        rows = []
        for number in numbers.tolist():
            style = number // COLOURS
            name, description = texts[style]
            named = f"{name} {colours[number % COLOURS]}"
            leaf = style % LEAVES
            category = paths[leaf] if number <= labelled else ""
            rows.append((number, named, description, category, f"s{style}", leaf))
        yield rows


def picture_of(number):
    return f"https://shop.example/pictures/{number}.jpg"


def write_feed(path, batches, link=picture_of):
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEADER)
        for rows in batches:
            file.writelines(
                f"{number}\t{name}\t{description}\t{category}\t{link(number)}\t{group}\n"
                for number, name, description, category, group, _ in rows
            )


def changed(batches):
    """Each tenth product of batches, under another name."""
    for rows in batches:
        yield [(row[0], f"{row[1]} anew", *row[2:]) for row in rows if row[0] % 10 == 0]


def make(folder, products):
    """Write the feeds, and make crawl.db with two experiments and one model."""
    learned, waiting = LEARNED * LEAVES, products // 10
    last = products + waiting + 1
    os.chdir(folder)
    # Without links, or the pictures would be asked for.
    write_feed("learned.tsv", drawn(1, learned + 1, products), lambda number: "")
    write_feed("same.tsv", drawn(1, last, products))
    write_feed("tenth.tsv", changed(drawn(1, last, products)))
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    load = (ROOT / "crawl.py", "--feed", "learned.tsv")
    train = (ROOT / "categorize_words.py", "--min-products", "5", "--folds", "5", "--epochs", "2")
    for command in (load, train):
        subprocess.run([sys.executable, *command], **quiet)
    fill(products, learned, last)


def fill(products, learned, last):
    """Insert the rest of the products, and what experiments say of all."""
    import db
    from crawling import feed_queries, queries

    conn = db.open_database("crawl.db")
    conn.execute("pragma synchronous = off")
    with feed_queries.written_once(conn), db.transaction(conn):
        leaf_ids = [
            conn.execute(
                "select category_id from product where id = ?", (COLOURS * (leaf or LEAVES),)
            ).fetchone()[0]
            for leaf in range(LEAVES)
        ]
        indexes = conn.execute(
            """select name, sql from sqlite_master where type = 'index' and sql is not null
               and tbl_name in ('product', 'product_category', 'picture', 'predicted_category')"""
        ).fetchall()
        for name, _ in indexes:
            conn.execute(f"drop index {name}")
        add_products(conn, products, learned, last, leaf_ids)
        add_experiments(conn, products, last, leaf_ids)
        feed_queries.make_indexes(conn, [sql for _, sql in indexes])
        queries.count_products(conn)
    conn.close()
    Path("images/ab").mkdir(parents=True)
    Path("images/ab/1.jpg").touch()
    write_lines(products, leaf_ids)


def add_products(conn, products, learned, last, leaf_ids):
    """Insert the products behind the `learned` ones, before `last`, and the pictures of all."""
    from crawling import feed_queries

    for rows in drawn(learned + 1, last, products):
        feed_queries.insert_products(
            conn,
            [
                (
                    number,
                    leaf_ids[leaf] if category else None,
                    "feed",
                    str(number),
                    f"feed {group}",
                    name,
                    description,
                    picture_of(number),
                )
                for number, name, description, category, group, leaf in rows
            ],
        )
    conn.execute("update product set image_crawled = 1")
    conn.executemany(
        "update product set image = ? where id = ?",
        ((picture_of(number), number) for number in range(1, learned + 1)),
    )
    conn.execute(
        """insert into product_category(product_id, category_id, position)
           select id, category_id, 0 from product where id > ? and category_id is not null""",
        (learned,),
    )
    conn.execute(
        """insert into picture(product_id, path, sha256, status)
           select id, 'ab/1.jpg', lower(hex(randomblob(32))), 'ok' from product"""
    )


def add_experiments(conn, products, last, leaf_ids):
    """Replace what the experiment that was trained has said by predictions of all products, add one
    without folds, and the answers of the first for products that wait."""
    from evaluation import filing_queries
    from learning import queries

    settings = json.loads(conn.execute("select settings from experiment").fetchone()[0])
    for table in ("predicted_category", "validation_prediction", "near_duplicate", "experiment"):
        conn.execute(f"delete from {table}")
    conn.execute("delete from learned_product")
    conn.execute("delete from sqlite_sequence where name = 'experiment'")
    everything = range(1, products + 1)
    for given, tested, held in (
        (settings, lambda u: True, lambda u: False),
        (settings | {"folds": None}, lambda u: u < 0.1, lambda u: 0.1 <= u < 0.2),
    ):
        queries.insert_experiment(
            conn,
            "Text classification of: ",
            given,
            predictions(leaf_ids, everything, tested, given["folds"], ()),
            predictions(leaf_ids, everything, held, given["folds"], (1,)),
            None,
            (),
            everything,
        )
    for table in ("predicted_category", "validation_prediction"):
        conn.execute(f"update {table} set twin = 0")
    waiting = predictions(leaf_ids, range(products + 1, last - ASKED), lambda u: True, None, ())
    answers = ((*row[:3], *row[5:8], 16, 1, 1, 0) for row in waiting)
    filing_queries.store_answers(conn, 1, answers)


def predictions(leaf_ids, numbers, wanted, folds, more):
    """Yield rows as predictions.stored_rows does, and behind them `more`, for those of the products
    whose place in the split is wanted: nine of ten are right."""
    import numpy as np

    from learning.split import split_position

    parents = [leaf.rpartition(".")[0] for leaf in leaf_ids]
    for start in range(numbers.start, numbers.stop, BATCH):
        part = range(start, min(start + BATCH, numbers.stop))
        rng = np.random.default_rng(start)
        scores = np.clip(1 - rng.exponential(0.1, len(part)), 0.05, 1)
        right = (rng.random(len(part)) < scores).tolist()
        others = rng.integers(LEAVES, size=(len(part), 5)).tolist()
        for product, score, is_right, other in zip(part, scores.tolist(), right, others):
            style = product // COLOURS
            u = split_position(f"feed s{style}")
            if not wanted(u):
                continue
            label = style % LEAVES
            best = label if is_right else other[0]
            left = 1 - score
            top = [[leaf_ids[best], round(score, 6)]]
            top += [[leaf_ids[leaf], round(left / 4, 6)] for leaf in other[1:]]
            yield (
                product,
                leaf_ids[best],
                score,
                leaf_ids[label],
                score if is_right else left / 4,
                parents[best],
                score + left / 4,
                json.dumps(top),
                int(u * folds) if folds else 0,
                *more,
            )


def write_lines(products, leaf_ids):
    """Write the CSV files of decisions, of their undoing, and of a move."""
    for name, decision in (("decisions.csv", "label wrong"), ("undo.csv", "undecided")):
        with open(name, "w", encoding="utf-8") as file:
            file.write("product_id,decision,suggestion\n")
            for place in range(ASKED):
                number = 1 + place * (products // ASKED)
                leaf = leaf_ids[(number // COLOURS + 1) % LEAVES]
                file.write(f"{number},{decision},{leaf}\n")
    top = leaf_ids[0].partition(".")[0]
    Path("moves.csv").write_text(f"from,to\n{top},Another name\n", encoding="utf-8")
