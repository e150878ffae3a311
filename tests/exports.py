"""What the tests of exports share: a crawl.db with products that an experiment has filed."""

import json
import sqlite3

from conftest import run_script

SETTINGS = json.dumps({"tree": {"depth": None, "leaves only": False}})
TREE = (  # of the shop: (id, title, category) of labelled products
    ("l-1", "Red Bootcut", "Women > Jeans > Bootcut"),
    ("l-2", "Blue Skinny", "Women > Jeans > Skinny"),
    ("l-3", "Évening tote", "Women > Bags, Wallets & Cases"),
    ("l-4", "Short", "Men > Shorts"),
    ("l-5", "Куртка", "Men > Куртки"),
)


def run(folder, *arguments, status=0, script="analyze"):
    """Run a script in a folder; its exit status must be the one that is expected."""
    done = run_script(script, *arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    return done


def connect(folder, name="crawl.db"):
    return sqlite3.connect(folder / name, isolation_level=None)


def rows(folder, statement, *values, name="crawl.db"):
    conn = connect(folder, name)
    try:
        return conn.execute(statement, values).fetchall()
    finally:
        conn.close()


def load(folder, path, *flags, name="crawl.db"):
    """Load a catalogue file with crawl.py."""
    return run(folder, "--feed", path, "--db-path", name, *flags, script="crawl")


def write_tsv(path, lines):
    """A feed of (id, title, category)."""
    text = "".join("\t".join(line) + "\n" for line in (("id", "title", "product_type"), *lines))
    path.write_text(text, encoding="utf-8")
    return path


def readable(folder, name="crawl.db"):
    """{category id: its names from the top, joined by |}."""
    names = dict(rows(folder, "select id, coalesce(name, id) from category", name=name))
    paths = rows(folder, "select id, path from category", name=name)
    return {category: "|".join(names[step] for step in path.split("/")) for category, path in paths}


def filed_where(folder, name="crawl.db"):
    """{the shop's id: the names of its category from the top, joined by |, or None}."""
    paths = readable(folder, name)
    found = rows(folder, "select external_id, category_id from product", name=name)
    return {external_id: paths.get(category) for external_id, category in found}


def lists(folder, name="crawl.db"):
    """{the shop's id: the set of all categories that it is listed in}."""
    paths = readable(folder, name)
    found: dict[str, set[str]] = {}
    for external_id, category in rows(
        folder,
        """select external_id, product_category.category_id from product
           join product_category on product_id = id""",
        name=name,
    ):
        found.setdefault(external_id, set()).add(paths[category])
    return found


def make_experiment(folder, number=1):
    conn = connect(folder)
    conn.execute(
        "insert into experiment(id, name, date, settings) values (?, 'Text classification of: ', ?, ?)",
        (number, "2026-11-30", SETTINGS),
    )
    conn.close()


def file_at(folder, external_id, path, level="leaf", source="feed", number=1):
    """Have experiment 1 file a product as --apply does, at a category, Women > Jeans or a list of
    names; a path of None leaves it to a person."""
    ids = {names: category for category, names in readable(folder).items()}
    levels = path.split(" > ") if isinstance(path, str) else path
    category = levels and ids["|".join(levels)]
    conn = connect(folder)
    conn.execute(
        """insert into filing(experiment_id, product_id, category_id, level, score, leaf_id, top)
           select ?, id, ?, ?, 0.9, ?, '[]' from product where external_id = ? and source = ?""",
        (number, category, level if category else "person", category, external_id, source),
    )
    conn.close()


def decide(folder, lines):
    """Take in a person's decisions, (id, decision, suggestion, proposed), by --overrides."""
    text = "source,external_id,decision,suggestion,proposed\n" + "".join(
        ",".join(("feed", *(f'"{cell}"' for cell in line))) + "\n" for line in lines
    )
    (folder / "decisions.csv").write_text(text, encoding="utf-8")
    return run(folder, "--overrides", "decisions.csv")
