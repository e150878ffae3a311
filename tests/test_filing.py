"""Products without a category: filed as far as a promise holds, by real runs of the scripts.

pytest tests/test_filing.py
pytest tests/test_filing.py -k differ
"""

import csv
import io
import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import REPO, environment, run_script, write_feed
from PIL import Image
from test_scripts import NETWORK

import db
from evaluation import filing, filing_output, guarantees
from learning import lexicons

pytestmark = pytest.mark.usefixtures("networks_made_once")
KINDS = {
    "Jeans": ("Bootcut", "Skinny", "Straight"),
    "Bags": ("Clutch", "Tote"),
    "Shoes": ("Boot", "Sandal"),
}
FILLING = "red green classic soft new daily light long warm plain fine early".split()


def feed_rows(count, first=0, seed=3):
    """Rows of a feed of products. The names of most tell the leaf, of some only the parent, of a few
    nothing; one in two hundred says another leaf's word, and four in a hundred are of a rare
    leaf."""
    rng, leaves = random.Random(seed), [(top, leaf) for top in KINDS for leaf in KINDS[top]]
    for number in range(first, first + count):
        top, leaf = rng.choice(leaves)
        said = [leaf] if rng.random() >= 0.005 else [rng.choice(leaves)[1]]
        if number % 25 == 7:
            top, leaf, said = "Rare", "Oddity", ["Oddity"]
        elif number % 10 in (1, 3, 6):
            said = rng.sample(KINDS[top], 2)
            leaf = rng.choice(said)
        elif number % 20 == 9:
            said = []
        yield (
            f"sku-{number}",
            " ".join([rng.choice(FILLING), *said, rng.choice(FILLING)]),
            " ".join(rng.sample(FILLING, 4)),
            f"{top} > {leaf}",
            "",
            "",
        )


def write(folder, name, rows):
    return write_feed(folder / name, list(rows))


def run(folder, *arguments, status=0, script="categorize_words"):
    done = run_script(script, *arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """3,000 labelled products, an experiment of them with folds (1) and one without (2)."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder, "--feed", write(folder, "old.tsv", feed_rows(3000)), script="crawl")
    for flags in (("--folds", "5"), ()):
        run(folder, "--min-products", "200", *flags)
    return folder


@pytest.fixture
def shop(trained, tmp_path):
    """The same, with 700 products more that have no category; their true leaf is in `hidden`."""
    folder = tmp_path / "shop"
    shutil.copytree(trained, folder)
    rows = list(feed_rows(700, 5000, seed=4))
    write(folder, "new.tsv", rows)
    run(folder, "--feed", "new.tsv", "--unlabelled", script="crawl")
    hidden = {row[0]: ".".join(part.lower() for part in row[3].split(" > ")) for row in rows}
    return SimpleNamespace(folder=folder, hidden=hidden)


def query(folder, statement, *values):
    conn = sqlite3.connect(folder / "crawl.db")
    with conn:
        found = conn.execute(statement, values).fetchall()
    conn.close()
    return found


def filed(done):
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


# ---- what is filed ------------------------------------------------------------------------------


def test_a_feed_without_its_categories_is_counted_and_used_by_nothing(shop):
    assert query(shop.folder, "select count(*) from product where category_id is null") == [(700,)]
    assert (
        "700 without one"
        in run(shop.folder, "--feed", "new.tsv", "--unlabelled", script="crawl").stdout
    )
    before = run(shop.folder, script="analyze").stdout
    run(shop.folder, "--min-products", "200")
    assert query(
        shop.folder,
        """select count(*) from predicted_category join product on
                                 id = product_id where product.category_id is null""",
    ) == [(0,)]
    assert run(shop.folder, script="analyze").stdout.startswith(before)
    first, last = before.split("#2:")[1], run(shop.folder, script="analyze").stdout.split("#3:")[1]
    assert first == last  # and it changes no figure


def test_each_product_is_filed_at_leaf_or_parent_or_left_with_three_suggestions(shop):
    done = run(shop.folder, "--apply", "1")
    rows = filed(done)
    assert [row["id"] for row in rows] == list(shop.hidden)
    assert tuple(rows[0]) == filing_output.COLUMNS
    levels = {
        level: [row for row in rows if row["level"] == level]
        for level in ("leaf", "parent", "person")
    }
    assert sum(map(len, levels.values())) == 700 and len(levels["leaf"]) > 300
    assert all(len(levels[level]) > 5 for level in levels)
    promise = json.loads((shop.folder / "models/experiment-1/thresholds.json").read_text())["98"]
    for row in levels["leaf"]:
        assert float(row["score"]) >= promise["leaf"] - 1e-6 and row["suggestion_1"] == ""
        assert row["path"].lower().replace(" > ", ".") == row["category"]
    for row in levels["parent"]:
        assert float(row["score"]) >= promise["parent"] - 1e-6
        assert row["category"] in ("jeans", "bags", "shoes")
    for row in levels["person"]:
        assert row["category"] == "" and row["suggestion_1"] != row["suggestion_2"] != ""
    right = [row["category"] == shop.hidden[row["id"]] for row in levels["leaf"]]
    assert np.mean(right) > 0.95
    assert (
        f"{len(levels['leaf'])} ({len(levels['leaf']) / 7:.1f} %) filed at the leaf" in done.stderr
    )
    (strange,) = query(
        shop.folder,
        """select count(distinct coalesce(cluster, group_key)) from product
        left join near_duplicate on product_id = id and experiment_id = 1
        where category_id = 'rare.oddity'""",
    )[0]
    assert f"out-of-fold predictions; {strange} of them of other categories" in done.stderr
    assert 60 < strange < 120  # some of the 120 differ by a word or two
    table = query(
        shop.folder,
        """select external_id, coalesce(filing.category_id, ''), level,
        experiment_id from filing join product on id = product_id where level is not null
        order by product_id""",
    )
    assert table == [(row["id"], row["category"], row["level"], 1) for row in rows]


def test_run_twice_it_files_nothing_twice_and_another_target_files_anew(shop):
    first = run(shop.folder, "--apply", "1")
    assert "answers: 820 products" in first.stderr  # 120 of categories that it does not know
    again = run(shop.folder, "--apply", "1")
    assert again.stdout == first.stdout and "answers" not in again.stderr
    assert "filed before" not in first.stderr + again.stderr
    other = filed(run(shop.folder, "--apply", "1", "--target", "90"))
    assert sum(row["level"] == "leaf" for row in other) > sum(
        row["level"] == "leaf" for row in filed(first)
    )
    assert query(shop.folder, "select count(*) from filing where level is not null") == [(700,)]
    lines = run(shop.folder, "--apply", "1", "--format", "jsonl").stdout.splitlines()
    for line, row in zip(lines, filed(first), strict=True):
        own = json.loads(line)
        assert (own["id"], own["category"] or "", own["level"]) == (
            row["id"],
            row["category"],
            row["level"],
        )
        assert len(own["suggestions"]) == 3 and own["suggestions"][0]["score"] > 0


# id, name, category, path, level and score stand where they stood before there were others.
OLD_COLUMNS = (
    "id",
    "name",
    "category",
    "path",
    "level",
    "score",
    "suggestion_1",
    "suggestion_2",
    "suggestion_3",
    "source",
    "product_id",
)


def test_suggestions_have_their_paths_in_columns_that_come_last(shop):
    rows = filed(run(shop.folder, "--apply", "1"))
    assert tuple(rows[0])[:11] == OLD_COLUMNS
    for row in rows:
        for turn in "123":
            assert (
                row[f"suggestion_{turn}_path"].lower().replace(" > ", ".")
                == row[f"suggestion_{turn}"]
            )
    assert any(" > " in row["suggestion_3_path"] for row in rows)


def test_when_a_person_has_decided_on_all_they_are_still_in_the_file(shop):
    """Also for an experiment that never answered them."""
    query(
        shop.folder,
        """insert into label_override(product_id, decision, category_id)
                          select id, 'label wrong', 'bags.tote' from product
                          where category_id is null""",
    )
    for number in ("1", "2"):
        done = run(shop.folder, "--apply", number)
        assert [(row["id"], row["category"], row["path"], row["level"]) for row in filed(done)] == [
            (name, "bags.tote", "Bags > Tote", "decided") for name in shop.hidden
        ]
        assert "700 products with a person's category already" in done.stderr


def test_a_suggestion_that_is_gone_gives_way_to_the_next(shop):
    run(shop.folder, "--apply", "1", "--target", "99.99")
    tops = dict(query(shop.folder, "select product_id, top from filing"))
    query(shop.folder, "delete from category where id = 'bags.tote'")
    rows = filed(run(shop.folder, "--apply", "1", "--target", "99.99"))
    lines = run(shop.folder, "--apply", "1", "--target", "99.99", "--format", "jsonl").stdout
    changed = 0
    for row, line in zip(rows, lines.splitlines(), strict=True):
        names = [name for name, _ in json.loads(tops[int(row["product_id"])])]
        there = [name for name in names if name != "bags.tote"][:3]
        assert [row[f"suggestion_{turn}"] for turn in "123"] == there
        assert [own["category"] for own in json.loads(line)["suggestions"]] == there
        changed += "bags.tote" in names[:3]
    assert changed > 100


@pytest.mark.parametrize("gone", (None, "delete from category where id = 'bags.tote'"))
def test_a_decision_for_a_category_that_is_not_there_has_no_path(shop, gone):
    put = "bags.tote" if gone else "Bags > Belt bag"  # proposed
    query(
        shop.folder,
        """insert into label_override(product_id, decision, category_id) select id,
          'filed by hand', case when id % 2 then 'bags.clutch' else ? end from product
          where category_id is null""",
        put,
    )
    if gone:
        query(shop.folder, gone)
    done = run(shop.folder, "--apply", "1")
    assert {(row["category"], row["path"], row["level"]) for row in filed(done)} == {
        ("bags.clutch", "Bags > Clutch", "decided"),
        (put, "", "decided"),
    }
    assert (
        "350 products have a person's category that the shop does not have "
        f"({put!r}), so no path is printed"
    ) in done.stderr
    lines = run(shop.folder, "--apply", "1", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(line)["path"] for line in lines} == {None, "Bags > Clutch"}


def levels_of(folder):
    return query(
        folder,
        "select product_id, level, category_id, score, target from filing "
        "where level is not null order by product_id",
    )


def test_a_dry_run_counts_what_would_be_filed_and_writes_no_decision(shop):
    first = run(shop.folder, "--apply", "1", "--dry-run", "--target", "90")
    assert "answers: 820 products" in first.stderr and "promised with 95 %" in first.stderr
    would, change = first.stdout.splitlines()
    assert change == "nothing was filed by this experiment before"
    assert levels_of(shop.folder) == []
    assert not (shop.folder / "models/experiment-1/thresholds.json").exists()
    done = run(shop.folder, "--apply", "1", "--target", "90")
    assert "answers" not in done.stderr  # they were kept
    (said,) = [line for line in done.stderr.splitlines() if "filed at the leaf" in line]
    assert would == f"dry run, nothing is filed. Experiment 1 at 90 % would give {said}"
    again = run(shop.folder, "--apply", "1", "--dry-run", "--target", "90")
    assert again.stdout.splitlines()[1] == "nothing would change against what is filed now"


def test_a_leaf_below_the_floor_is_shut_and_both_the_dry_run_and_the_filing_say_so(shop):
    """Half of the labels of one leaf are moved, so that its answers are wrong that often."""
    with sqlite3.connect(shop.folder / "crawl.db") as conn:
        conn.execute("""update product set category_id = 'bags.clutch' where id % 2
                        and category_id = 'bags.tote'""")
    apply = ("--apply", "1", "--target", "75", "--confidence", "90")
    before = run(shop.folder, *apply, "--floor", "0")
    assert "shut" not in before.stderr
    assert any(row["category"] == "bags.tote" for row in filed(before))
    apply += ("--floor", "60")  # below which only that one is
    dry = run(shop.folder, *apply, "--dry-run")
    done = run(shop.folder, *apply)
    for told in (dry, done):
        assert re.search(
            r"leaf is shut: clearly less than 60 % \(--floor\) would be right there \(the worst, "
            r"bags\.tote: \d+ of \d+ were\)",
            told.stderr,
        )
    taken = [row["level"] for row in filed(done)]
    assert not any(row["category"] == "bags.tote" for row in filed(done))
    assert f"would give {taken.count('leaf')} (" in dry.stdout
    kept = query(shop.folder, "select floor, shut from filing_source where experiment_id = 1")
    ((floor, shut),) = set(kept)
    assert floor == 0.6 and [leaf["category"] for leaf in json.loads(shut)] == ["bags.tote"]
    told = run(shop.folder, "--models", script="analyze").stdout
    assert "; floor 60%, leaves shut: 1)" in told


@pytest.mark.slow
def test_another_target_says_what_it_changes_in_the_words_of_the_dry_run(shop):
    before = {row["id"]: row for row in filed(run(shop.folder, "--apply", "1", "--target", "90"))}
    assert {row[4] for row in levels_of(shop.folder)} == {0.9}
    kept = levels_of(shop.folder)
    dry = run(shop.folder, "--apply", "1", "--target", "99.5", "--dry-run")
    assert levels_of(shop.folder) == kept
    write(shop.folder, "more.tsv", feed_rows(40, 9000, seed=8))
    run(shop.folder, "--feed", "more.tsv", "--unlabelled", script="crawl")
    done = run(shop.folder, "--apply", "1", "--target", "99.5")
    after = {row["id"]: row for row in filed(done)}
    at = ("leaf", "parent")
    pairs = [
        (before[name]["level"] if name in before else None, row["level"])
        for name, row in after.items()
    ]
    new = sum(was not in at and now in at for was, now in pairs)
    other = sum(was in at and now in at and was != now for was, now in pairs)
    back = sum(was in at and now not in at for was, now in pairs)
    assert back and len(pairs) == 740
    line = (
        f"changes against what was filed before, at 90 %: {new} newly filed, {other} refiled "
        f"at another level, {back} taken back, {740 - new - other - back} as before"
    )
    assert line in done.stderr.splitlines()
    assert dry.stdout.splitlines()[1].startswith("changes against what was filed before, at 90 %: ")
    assert {row[4] for row in levels_of(shop.folder)} == {0.995}


def test_what_was_filed_before_targets_were_kept_is_counted_too(shop):
    run(shop.folder, "--apply", "1")
    query(shop.folder, "update filing set target = null")
    done = run(shop.folder, "--apply", "1", "--target", "99.99", "--dry-run")
    assert "filed before, at a target that was not kept: 0 newly filed" in done.stdout


def test_a_dry_run_of_a_training_is_an_error_and_trains_nothing(trained):
    for script in ("categorize_words", "categorize_images", "categorize_both"):
        for flags in (
            ["--dry-run"],
            ["--target", "95"],
            ["--confidence", "90"],
            ["--format", "jsonl"],
            ["--file-anyway"],
        ):
            done = run(trained, *flags, "--min-products", "200", script=script, status=2)
            assert f"{flags[0]} is for --apply" in done.stderr


@pytest.mark.slow  # test_kills.py kills --apply, too
def test_killed_and_run_again_it_goes_on_where_it_was(trained, tmp_path):
    folder = tmp_path / "killed"
    shutil.copytree(trained, folder)
    write(folder, "new.tsv", feed_rows(25_000, 5000, seed=4))
    run(folder, "--feed", "new.tsv", "--unlabelled", script="crawl")
    shutil.copytree(folder, tmp_path / "whole")
    whole = run(tmp_path / "whole", "--apply", "1").stdout
    for answered in (5_000, 10_000, 15_000):
        process = subprocess.Popen(
            [sys.executable, REPO / "categorize_words.py", "--apply", "1"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while query(folder, "select count(*) from filing")[0][0] < answered:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (before,) = query(folder, "select count(*) from filing")[0]
    assert 15_000 <= before < 25_120
    done = run(folder, "--apply", "1")
    assert done.stdout == whole and f"answers: {25_120 - before} products" in done.stderr


@pytest.mark.slow
def test_what_the_shop_or_a_person_has_filed_meanwhile_is_filed_no_more(shop):
    rows = filed(run(shop.folder, "--apply", "1"))
    own = {row["id"]: row for row in rows}
    decisions = "product_id,decision,suggestion,label\n" + "".join(
        f"{row['product_id']},label wrong,{shop.hidden[row['id']]},\n" for row in rows[:5]
    )
    (shop.folder / "decisions.csv").write_text(decisions)
    assert "5 read" in run(shop.folder, "--overrides", "decisions.csv", script="analyze").stdout
    labelled = list(feed_rows(5, 5010, seed=4))
    write(shop.folder, "later.tsv", labelled)
    run(shop.folder, "--feed", "later.tsv", script="crawl")
    done = run(shop.folder, "--apply", "1")
    assert "5 products with a person's category already" in done.stderr
    after = filed(done)
    assert [row["id"] for row in after] == [
        name for name in own if name not in [row[0] for row in labelled]
    ]
    assert [
        (row["id"], row["category"], row["level"], row["score"], row["suggestion_1"])
        for row in after[:5]
    ] == [(name, shop.hidden[name], "decided", "", "") for name in list(own)[:5]]
    assert {row["level"] for row in after[5:]} == {"leaf", "parent", "person"}
    assert all(row["path"].lower().replace(" > ", ".") == row["category"] for row in after[:5])
    lines = run(shop.folder, "--apply", "1", "--format", "jsonl").stdout.splitlines()
    decided = [json.loads(line) for line in lines[:5]]
    assert [
        (row["level"], row["category"], row["path"], row["score"], row["suggestions"])
        for row in decided
    ] == [("decided", row["category"], row["path"], None, []) for row in after[:5]]
    # What a person filed is learned, and is in no figure.
    run(shop.folder, "--min-products", "200", "--folds", "5")
    settings = json.loads(query(shop.folder, "select settings from experiment where id = 3")[0][0])
    known = [row for row in rows[:5] if shop.hidden[row["id"]] != "rare.oddity"]
    assert settings["overridden"] == len(known)
    assert query(
        shop.folder,
        """select count(*) from predicted_category join label_override using
                                 (product_id) where experiment_id = 3""",
    ) == [(0,)]


def test_a_product_whose_text_changed_is_answered_anew(shop):
    run(shop.folder, "--apply", "1")
    rows = list(feed_rows(700, 5000, seed=4))
    rows[0] = ("sku-5000", "classic Tote", "warm plain", *rows[0][3:])
    write(shop.folder, "new.tsv", rows)
    run(shop.folder, "--feed", "new.tsv", "--unlabelled", script="crawl")
    done = run(shop.folder, "--apply", "1")
    assert "answers: 1 products" in done.stderr
    assert filed(done)[0]["category"] in ("bags.tote", "bags")


# ---- what is true today -------------------------------------------------------------------------


def test_a_shop_that_renamed_all_its_leaves_has_nothing_filed_at_the_old_ones(shop):
    run(shop.folder, "--apply", "1")
    block = run(shop.folder, script="analyze").stdout
    renamed = [(*row[:3], row[3].replace(" > ", " > New "), *row[4:]) for row in feed_rows(3000)]
    write(shop.folder, "renamed.tsv", renamed)
    run(shop.folder, "--feed", "renamed.tsv", script="crawl")
    done = run(shop.folder, "--apply", "1")
    assert {row["level"] for row in filed(done)} == {"parent", "person"}
    assert {row["suggestion_1"] for row in filed(done)} == {""}  # they are all of old leaves
    said = "2,880 of the 2,880 products of experiment 1 have another category now than the one it learned"
    assert said in done.stderr
    assert re.search("without the 2,[0-9]{3} products that have another category now", done.stderr)
    assert "700 products were answered with leaves that are not there any more" in done.stderr
    assert said in run(shop.folder, "--models", script="analyze").stdout
    told = run(shop.folder, "--experiment", "1", script="analyze").stdout
    assert said in told and run(shop.folder, script="analyze").stdout == block


def test_own_filings_that_come_back_are_learned_and_in_no_figure(shop):
    rows = filed(run(shop.folder, "--apply", "1"))
    at_leaf = [row for row in rows if row["level"] == "leaf"]
    back = [(row["id"], row["name"], "", row["path"], "", "") for row in at_leaf]
    wrong = (*back[0][:3], "Jeans > Skinny", "", "")
    back[0] = (
        wrong if at_leaf[0]["category"] != "jeans.skinny" else (*back[0][:3], "Bags > Tote", "", "")
    )
    write(shop.folder, "back.tsv", back)  # texts have changed too, which deletes rows of filing
    run(shop.folder, "--feed", "back.tsv", script="crawl")
    for number, (flags, own) in enumerate((((), len(back)), (("--trust-filed",), 0)), 3):
        done = run(shop.folder, "--min-products", "200", *flags)
        assert (
            f"--apply filed {own} of the {2880 + len(back)} products before they had a "
            "category, and the shop has corrected 1 of those" in done.stderr
        ) == bool(own)
        assert "1 of 8 categories, with" in done.stderr and "--min-products 5" in done.stderr
        kept = json.loads(
            query(shop.folder, "select settings from experiment where id = ?", number)[0][0]
        )
        assert (kept["filed by --apply"], kept["overridden"]) == (own, 0)
        assert kept["training"][0] > 0.7 * (2880 + len(back))
        (found,) = query(
            shop.folder,
            """select count(*) from predicted_category join filed_before
                                       using (product_id) where experiment_id = ?""",
            number,
        )[0]
        assert found > 20 if flags else found == 0


def test_if_no_labelled_product_is_left_nothing_is_filed_and_one_sentence_says_so(shop):
    for leave in (0, 60):  # all gone; then with a few labelled products that came since
        query(shop.folder, "delete from product where category_id is not null")
        if leave:
            write(shop.folder, "later.tsv", feed_rows(leave, 9000, seed=5))
            run(shop.folder, "--feed", "later.tsv", script="crawl")
            query(shop.folder, "delete from product where category_id = 'rare.oddity'")
        for flags in (("1",), ("2", "--file-anyway"), ("1", "--dry-run")):
            done = run(shop.folder, "--apply", *flags, status=1)
            (said,) = [line for line in done.stderr.splitlines() if "nothing is filed" in line]
            assert f"that the promise of experiment {flags[0]} rests on is left" in said
            assert done.stdout == "" and query(
                shop.folder, "select count(*) from filing where level <> 'person'"
            ) == [(0,)]


def test_products_without_a_group_key_are_learned_and_filed_as_groups_of_their_own(shop):
    query(
        shop.folder,
        """update product set group_key = null
                          where category_id is null and id % 2 or id % 7 = 0""",
    )
    for flags in ((), ("--split-by", "group")):
        run(shop.folder, "--min-products", "200", *flags)
    done = run(shop.folder, "--apply", "4", "--target", "90")
    assert len(filed(done)) == 700


def test_an_experiment_keeps_what_its_model_learned_from(trained):
    for number, folds in ((1, True), (2, False)):
        (training,) = query(
            trained,
            """select json_extract(settings, '$.training[0]')
                                      from experiment where id = ?""",
            number,
        )[0]
        learned, predicted = query(
            trained,
            """
            select count(*), count(predicted.product_id) from learned_product as own
            left join predicted_category as predicted using (experiment_id, product_id)
            where experiment_id = ?""",
            number,
        )[0]
        assert (learned, predicted) == ((2880, 2880) if folds else (training, 0))


# ---- what is promised ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_batch_with_more_of_what_the_model_errs_in_is_told(tmp_path):
    """Every second mini is called a skirt, and filed there: few enough where 3 in 100 are minis,
    too many where 12 are, though that changes the answers little."""
    rng = random.Random(3)

    def rows(first, count, minis):
        for number in range(first, first + count):
            leaf = "Mini" if rng.random() < minis else rng.choice(("Skirt", "Boot", "Tote"))
            said = "Skirt" if leaf == "Mini" and rng.random() < 0.5 else leaf
            yield (
                f"sku-{number}",
                f"{rng.choice(FILLING)} {said} {rng.choice(FILLING)}",
                " ".join(rng.sample(FILLING, 4)),
                f"Women > {leaf}",
                "",
                "",
            )

    write(tmp_path, "old.tsv", rows(0, 3000, 0.03))
    run(tmp_path, "--feed", "old.tsv", script="crawl")
    run(tmp_path, "--min-products", "50", "--folds", "5")
    for source, first, minis in (("like", 5000, 0.03), ("more", 7000, 0.12)):
        write(tmp_path, "new.tsv", rows(first, 1500, minis))
        run(tmp_path, "--feed", "new.tsv", "--unlabelled", "--source", source, script="crawl")
    told = run(tmp_path, "--apply", "1", "--target", "96", status=1).stderr
    assert told.count("is not promised") == 1
    assert "is not promised of the 1500 products of more" in told
    assert "in such a mix of categories are right at the leaf" in told
    assert "mix of categories is another" not in told


@pytest.mark.slow
def test_a_shop_with_enough_labelled_products_is_compared_with_its_own(shop):
    """Two shops of other words and categories, both learned: neither differs from itself."""
    rng = random.Random(5)
    own = [
        (
            f"z-{n}",
            f"{rng.choice(('azul', 'rojo'))} {leaf} {rng.choice(('nuevo', 'fino'))}",
            " ".join(rng.sample(FILLING, 4)) + f" {n}",
            f"Ropa > {leaf}",
            "",
            "",
        )
        for n in range(1400)
        for leaf in (("Zapato", "Bolso", "Falda")[n % 3],)
    ]
    write(shop.folder, "z.tsv", own[:1000])
    write(shop.folder, "z-new.tsv", own[1000:])
    run(shop.folder, "--feed", "z.tsv", "--source", "z", script="crawl")
    run(shop.folder, "--feed", "z-new.tsv", "--source", "z", "--unlabelled", script="crawl")
    run(shop.folder, "--min-products", "200", "--folds", "5")
    done = run(shop.folder, "--apply", "3")
    assert "is not promised" not in done.stderr
    assert sum(row["level"] == "leaf" for row in filed(done) if row["source"] == "z") > 300


@pytest.mark.slow
def test_a_catalogue_of_which_the_model_knows_a_part_does_not_differ_from_itself(shop):
    run(shop.folder, "--categories", "bootcut,skinny", "--folds", "5")
    done = run(shop.folder, "--apply", "3", "--target", "60")
    assert "is not promised" not in done.stderr


def test_without_folds_the_promise_rests_on_what_was_kept_for_it(shop):
    done = run(shop.folder, "--apply", "2")
    assert "validation kept for certifying" in done.stderr
    conn = db.open_readonly(str(shop.folder / "crawl.db"))
    count = """select count(distinct coalesce(cluster, group_key)) from {0} join product
               on id = {0}.product_id left join near_duplicate on near_duplicate.product_id = id
               and near_duplicate.experiment_id = 2 where {0}.experiment_id = 2""".format
    kept = conn.execute(f"{count('validation_prediction')} and certifying").fetchone()
    strange = conn.execute(f"{count('filing')} and product.category_id = 'rare.oddity'").fetchone()
    assert 0 < strange[0] < 20  # as large a share of them as of the others
    leaves = [
        row[0]
        for row in conn.execute("""select distinct label_id from predicted_category
                                                where experiment_id = 2""")
    ]
    promise = guarantees.promise(conn, 2, leaves, 0.95, 0.95)
    assert promise["products"] == kept[0] + strange[0] and promise["strange"] == strange[0]


def test_products_of_unknown_categories_count_against_the_promise(shop):
    """A rare leaf, whose products look like another's: without it more would be promised."""
    run(shop.folder, "--apply", "1")
    conn = db.open_database(str(shop.folder / "crawl.db"))
    leaves = [row[0] for row in conn.execute("select distinct label_id from predicted_category")]
    assert "rare.oddity" not in leaves and len(leaves) == 7
    honest = guarantees.promise(conn, 1, leaves, 0.95, 0.95)
    (strange,) = conn.execute("""select count(distinct coalesce(cluster, group_key)) from product
        left join near_duplicate on product_id = id and experiment_id = 1
        where category_id = 'rare.oddity'""").fetchone()
    assert honest["strange"] == strange > 60 and honest["leaf"] is not None
    conn.execute(
        "update filing set leaf_score = .9999 where product_id in (select id from product "
        "where category_id = 'rare.oddity')"
    )  # as if the model took all of them for sure
    assert guarantees.promise(conn, 1, leaves, 0.97, 0.95)["leaf"] is None
    conn.execute("delete from filing")
    assert guarantees.promise(conn, 1, leaves, 0.97, 0.95)["leaf"] is not None


def test_where_nothing_can_be_promised_nothing_is_filed(shop):
    done = run(shop.folder, "--apply", "1", "--target", "99.99")
    assert "nothing can be promised at 99.99 %" in done.stderr and "--target" in done.stderr
    assert {row["level"] for row in filed(done)} == {"person"}
    few = run(shop.folder, "--apply", "2", "--target", "99.5")
    assert "train with --folds 10" in few.stderr and "--folds" not in done.stderr


# ---- are the new products like the old? ---------------------------------------------------------


def test_products_that_differ_are_told_and_not_filed(shop):
    rng = random.Random(9)
    rows = [
        (
            f"x-{n}",
            " ".join(rng.choice(("Zapato", "Bota", "Bolso", "boot")) for _ in range(3)),
            "",
            "",
            "",
            "",
        )
        for n in range(1500)
    ]
    write(shop.folder, "other.tsv", rows)
    run(shop.folder, "--feed", "other.tsv", "--source", "other", script="crawl")
    done = run(shop.folder, "--apply", "1", status=1)
    (told,) = [line for line in done.stderr.splitlines() if "is not promised" in line]
    assert "98 % is not promised of the 1500 products of other" in told
    for words_ in (
        "of their words",
        "100 % of them have no description (0 % there)",
        "their mix of categories is another one (",
    ):
        assert words_ in told
    assert "None of them is filed at the leaf or the parent (--file-anyway does)" in told
    levels = {
        source: {row["level"] for row in filed(done) if row["source"] == source}
        for source in ("feed", "other")
    }
    assert levels == {"feed": {"leaf", "parent", "person"}, "other": {"person"}}  # shop by shop
    refused = "none of them was filed at the leaf or at the parent"
    assert refused in run(shop.folder, "--review", "1", script="analyze").stdout
    anyway = filed(run(shop.folder, "--apply", "1", "--file-anyway", status=1))
    assert {row["level"] for row in anyway if row["source"] == "other"} != {"person"}
    run(shop.folder, "--apply", "1", "--file-anyway", "--target", "70", status=1)
    assert query(
        shop.folder,
        "select leaf is null, parent, reasons, refused from filing_source where source = 'other'",
    ) == [(0, None, "[]", "[]")]
    review = run(shop.folder, "--review", "1", script="analyze").stdout
    assert "none of them was filed" not in review and "nothing of its shop" not in review
    # Where nothing is promised at all, nothing was refused.
    done = run(shop.folder, "--apply", "1", "--target", "99.99", status=1)
    (told,) = [line for line in done.stderr.splitlines() if "is not promised" in line]
    assert told.endswith(". Nothing is promised of other products either")
    review = run(shop.folder, "--review", "1", script="analyze").stdout
    assert "none of them was filed" not in review and "nothing of its shop" not in review


@pytest.mark.parametrize(
    "promised, own, levels",
    (
        ((0.5, 0.4), (None, None), ["leaf", "parent"]),
        ((0.5, 0.4), (None, 0.6), ["leaf"]),
        ((0.5, 0.4), (0.5, None), ["parent"]),
        ((0.5, 0.4), (0.5, 0.4), []),
        ((0.5, None), (None, None), ["leaf"]),
        ((None, 0.4), (None, None), ["parent"]),
        ((None, None), (None, None), []),
    ),
)
def test_only_levels_that_were_promised_are_refused(promised, own, levels):
    promise, mine = (dict(zip(("leaf", "parent"), some)) for some in (promised, own))
    mine = {level: np.inf if one is None else one for level, one in mine.items()}
    assert filing.refused_levels(promise, mine) == levels


def test_what_is_no_longer_promised_of_a_shop_is_taken_back_and_told(shop):
    before = filed(run(shop.folder, "--apply", "1"))
    at = sum(row["level"] != "person" for row in before)
    assert at > 600
    odd = [(f"x-{n}", "Zapato Bota Bolso", "", "", "", "") for n in range(1500)]
    write(shop.folder, "odd.tsv", odd)
    run(shop.folder, "--feed", "odd.tsv", script="crawl")  # of the same shop
    done = run(shop.folder, "--apply", "1", status=1)
    assert (
        f"changes against what was filed before, at 98 %: 0 newly filed, 0 refiled at another "
        f"level, {at} taken back, {len(before) + 1500 - at} as before"
    ) in done.stderr
    assert {row["level"] for row in filed(done)} == {"person"}
    again = run(shop.folder, "--apply", "1", status=1)
    assert "filed before" not in again.stderr


def test_few_folds_file_nothing_and_both_scripts_say_so(shop):
    done = run(shop.folder, "--min-products", "200", "--folds", "4")
    assert "warning: --apply will file nothing by this experiment: with 4 folds" in done.stderr
    done = run(shop.folder, "--apply", "3", "--target", "60")
    assert "with 4 folds each model learns from 50 % of the products" in done.stderr
    assert {row["level"] for row in filed(done)} == {"person"}


# ---- pictures -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictured(tmp_path_factory, networks_made_once):
    """A shop of test_scripts with experiments by picture (1), both (2) and both of 2016 (3), and
    thirty products more without a category, five of them without a picture."""
    import test_scripts

    folder = tmp_path_factory.mktemp("pictured")
    feed = test_scripts.make_shop(folder)
    lines = feed.read_text().splitlines()
    new = [line.split("\t") for line in lines[1:241:8]]
    rows = [
        (f"new-{row[0]}", row[1], row[2], "", "" if turn < 5 else row[4], "")
        for turn, row in enumerate(new)
    ]
    write_feed(folder / "new.tsv", rows)
    for name, flags in (("feed.tsv", ()), ("new.tsv", ("--source", "new"))):
        run(folder, "--feed", name, *flags, script="crawl")
    every = ("--min-products", "20", "--folds", "5", *NETWORK, "--how_many_training_steps", "60")
    run(folder, *every, script="categorize_images")
    run(folder, *every, script="categorize_both")
    run(folder, *every, "--fusion", "concat", script="categorize_both")
    return folder


@pytest.mark.parametrize("number, script", ((1, "images"), (2, "both"), (3, "both")))
def test_pictures_are_filed_with_the_network_the_model_knows(pictured, number, script):
    done = run(
        pictured,
        "--apply",
        number,
        "--target",
        "60",
        "--confidence",
        "60",
        script=f"categorize_{script}",
    )  # --weights and --layer are the model's own
    rows = filed(done)
    assert len(rows) == 30
    bare = [row for row in rows if row["level"] == "person" and not row["suggestion_1"]]
    assert len(bare) == (5 if script == "images" else 0)  # a word is enough for both
    stored = dict(
        query(
            pictured,
            """select external_id, pictured from filing join product
                                     on id = product_id where experiment_id = ?""",
            number,
        )
    )
    assert sum(stored[row["id"]] for row in rows) == 25


@pytest.mark.parametrize("number, script", ((1, "images"), (2, "both"), (3, "both")))
def test_a_products_answer_is_what_the_model_says(pictured, number, script):
    """The answer for a product that has the words and the picture of a training product is, but for
    rounding, that product's by the refitted model: nothing else of it is looked at."""
    run(pictured, "--apply", number, "--target", "60", script=f"categorize_{script}")
    conn = db.open_database(str(pictured / "crawl.db"))
    twins = conn.execute(
        """select new.id, old.id, top from product new join product old
                            on new.external_id = 'new-' || old.external_id and new.image = old.image
                            join filing on new.id = product_id and experiment_id = ?""",
        (number,),
    ).fetchall()
    conn.execute(
        "update product set category_id = null where id in ({})".format(
            ",".join(str(row[1]) for row in twins)
        )
    )
    assert len(twins) == 25
    try:
        run(pictured, "--apply", number, "--target", "60", script=f"categorize_{script}")
        tops = dict(
            conn.execute(
                "select product_id, top from filing where experiment_id = ?", (number,)
            ).fetchall()
        )
        for new, old, top in twins:
            assert tops[new] == tops[old] == top
    finally:
        conn.execute("""update product set category_id = (select category_id from product_category
                        where product_id = id) where category_id is null and source <> 'new'""")
        conn.close()


def test_another_folder_of_pictures_is_one_sentence_and_no_answer_is_kept(pictured, tmp_path):
    """Answers without the pictures would stay, and the promise would rest on them."""
    noise = np.random.default_rng(5).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(pictured / "fresh.png")
    write_feed(pictured / "fresh.tsv", [("fresh", "Zapato", "Bota", "", "fresh.png", "")])
    run(pictured, "--feed", "fresh.tsv", "--source", "fresh", script="crawl")
    answered = "select count(*) from filing join product on id = product_id where source = 'fresh'"
    for number, script in ((1, "images"), (2, "both"), (3, "both")):
        apply = ("--apply", number, "--target", "60", "--dry-run")
        done = run(
            pictured, *apply, "--images-path", tmp_path, script=f"categorize_{script}", status=2
        )
        assert done.stderr.splitlines()[-1].endswith(
            f"none of the pictures of the products that wait is in {tmp_path}: name their folder "
            "with --images-path"
        )
        assert query(pictured, answered) == [(number - 1,)]
        run_script(f"categorize_{script}", *apply, cwd=pictured)  # its words may be too strange
        assert query(pictured, answered.replace("count(*)", "sum(pictured)")) == [(number,)]
        shutil.rmtree(pictured / "retrain_out")


# ---- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words_",
    (
        (("--apply", "9"), "there is no experiment 9"),
        (("--apply", "x"), "--apply"),
        (("--apply", "1", "--target", "98 %"), "--target"),
        (("--apply", "1", "--target", "100"), "from 50 to 99.99"),
        (("--apply", "1", "--confidence", "nan"), "from 50"),
        (("--apply", "1", "--format", "xml"), "csv"),
        (("--apply", "1", "--folds", "5"), "trains nothing"),
        (("--apply", "1", "--trust-filed"), "trains nothing"),
        (("--apply", "1", "--db-path", "none.db"), "there is no none.db"),
    ),
)
def test_a_mistake_is_one_sentence(trained, arguments, words_):
    done = run(trained, *arguments, status=2)
    assert words_ in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_model_of_another_kind_or_a_strangers_is_one_sentence(shop):
    done = run(shop.folder, "--apply", "1", script="categorize_images", status=2)
    assert "categorize_words.py" in done.stderr and done.stderr.count("\n") == 1
    model = shop.folder / "models/experiment-1"
    for name, data in (
        ("weights.npz", b"PK\3\4"),
        ("model.json", b'{"format": 7}'),
        ("model.json", None),
    ):
        (model / name).unlink() if data is None else (model / name).write_bytes(data)
        done = run(shop.folder, "--apply", "1", status=2)
        assert "train again" in done.stderr and done.stderr.count("\n") == 1
    assert query(shop.folder, "select count(*) from filing") == [(0,)]


def test_a_model_that_another_experiment_wrote_or_somebody_edited_promises_nothing(shop):
    models = shop.folder / "models"
    shutil.copytree(models / "experiment-2", models / "kept")
    whole = (models / "experiment-1/model.json").read_text()
    (models / "experiment-1/model.json").write_text(
        whole.replace("jeans.bootcut", "x", 1)
        .replace("jeans.skinny", "jeans.bootcut", 1)
        .replace('"x"', '"jeans.skinny"', 1)
    )
    assert (
        "is not the one that its experiment wrote"
        in run(shop.folder, "--apply", "1", status=2).stderr
    )
    shutil.rmtree(models / "experiment-1")
    (models / "kept").rename(models / "experiment-1")
    assert (
        "is not the one that its experiment wrote"
        in run(shop.folder, "--apply", "1", status=2).stderr
    )
    assert "another experiment's model" in run(shop.folder, "--models", script="analyze").stdout


def test_a_link_in_a_models_folder_leads_to_no_file_of_yours(shop):
    mine = shop.folder / "mine.txt"
    mine.write_text("keep me")
    for name in ("thresholds.json", "thresholds.json.tmp"):
        (shop.folder / "models/experiment-1" / name).symlink_to(mine)
    run(shop.folder, "--apply", "1")
    assert mine.read_text() == "keep me"
    assert "98% with" in run(shop.folder, "--models", script="analyze").stdout


def test_two_at_once_file_the_same(shop):
    processes = [
        subprocess.Popen(
            [sys.executable, REPO / "categorize_words.py", "--apply", "1"],
            cwd=shop.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0] and told[0] == told[1]


def test_without_a_product_to_file_it_says_so(trained):
    done = run(trained, "--apply", "1")
    assert "there is no product without a category" in done.stderr and done.stdout == ""


def test_hostile_names_are_cells_and_json(shop):
    evil = [
        "=cmd|'/c calc'!A0 Tote",
        "+1 Tote",
        "@x Tote",
        "-2 Tote",
        'a "Tote",\r\n,',
        "\x1b[31mTote",
    ]
    for number, name in enumerate(evil, 100_000):
        query(
            shop.folder,
            """insert into product(id, source, external_id, group_key, name,
              description) values (?, 'feed', ?, ?, ?, 'warm plain')""",
            number,
            name,
            name,
            name,
        )
    rows = filed(run(shop.folder, "--apply", "1"))
    assert len(rows) == 706
    for row in rows[-6:]:
        assert row["name"][0] not in "=+-@" and row["id"][0] not in "=+-@"
        assert row["name"].isprintable()
    lines = run(shop.folder, "--apply", "1", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines[-6:]] == evil


# ---- models, and the vocabulary of one ----------------------------------------------------------


def test_models_are_listed_with_what_is_certified(shop):
    told = run(shop.folder, "--models", script="analyze").stdout
    assert "#1: Text classification of: \n" in told and "7 categories, 5 folds" in told
    assert "no threshold yet: python categorize_words.py --apply 2" in told
    run(shop.folder, "--apply", "1")
    run(shop.folder, "--apply", "1", "--target", "99.99")
    told = run(shop.folder, "--models", script="analyze").stdout
    assert "98% with 95% confidence: leaf from score 0." in told
    assert "99.99% with 95% confidence: no leaf, no parent" in told
    thresholds = shop.folder / "models/experiment-1/thresholds.json"
    kept = json.loads(thresholds.read_text())
    before = thresholds.read_text()
    del kept["98"]["crc32"]  # as files of before have none
    kept["98"]["leaf"] = 0.0  # which lets all pass, and is not nothing
    thresholds.write_text(json.dumps(kept))
    assert "leaf from score 0.0000 on" in run(shop.folder, "--models", script="analyze").stdout
    thresholds.write_text(before)
    found = json.loads(run(shop.folder, "--models", "--json", script="analyze").stdout)
    assert found[0]["promises"]["98"]["leaf"] > 0 and found[1]["promises"] == {}
    (shop.folder / "models/experiment-2/model.json").write_text("{")
    assert "is damaged" in run(shop.folder, "--models", script="analyze").stdout


def test_unknown_words_are_counted_as_they_stand():
    described = {"vocabulary": ["jean", "blue", "name:jean", "blue jean"]}
    lexicon = lexicons.make_lexicon(described, {})
    bag, count, unknown = lexicons.bag_of(
        lexicon, [("Jean", "a blue jean, a blue sky"), ("", ""), ("Jean", ""), ("sky", "sky")]
    )
    assert bag.toarray().tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert count.tolist() == [7, 0, 1, 2] and unknown.tolist() == [3, 0, 0, 2]
    assert lexicons.bag_of(lexicon, [])[0].shape == (0, 4)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_filing_does_not_grow_with_the_products(trained, tmp_path):
    peaks = []
    for count in (50_000, 150_000):
        folder = tmp_path / str(count)
        shutil.copytree(trained, folder)
        write(folder, "new.tsv", feed_rows(count, 5000))
        run(folder, "--feed", "new.tsv", "--unlabelled", script="crawl")
        # The child says it of itself: what wait4 tells holds what this process had, too.
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import categorize_words, re, sys\n"
                "assert categorize_words.main(['--apply', '1']) == 0\n"
                "print(re.search('VmHWM: *([0-9]+)', open('/proc/self/status').read().replace('\\t', "
                "' '))[1], file=sys.stderr)",
            ],
            cwd=folder,
            env=environment(PYTHONPATH=str(REPO)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        peaks.append(int(done.stderr.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 20_000  # kB
