"""What --apply and --models do with an audit, by real runs of the scripts on a drawn shop.

pytest tests/test_audit_filing.py
"""

import csv
import json
import re

import pytest
from conftest import run_script
from test_filing import feed_rows, query, run, shop, trained, write

pytestmark = pytest.mark.usefixtures("networks_made_once")
TARGET = ("--target", "95")


def apply(folder, *flags, status=0):
    return run(folder, "--apply", 1, *TARGET, *flags, status=status)


def filed(folder):
    """{product: level} of what experiment 1 has filed."""
    return dict(
        query(folder, "select product_id, level from filing where level in ('leaf', 'parent')")
    )


def answer(shop, count, is_wrong):
    """Draw and answer so many products; is_wrong(position, row of audit_sample) says which are."""
    run(shop.folder, "--audit", 1, "--top", count, "-o", "audit.html", script="analyze")
    page = (shop.folder / "audit.html").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r'data-product="(\d+)"', page)]
    rows = {
        row[0]: row
        for row in query(
            shop.folder,
            """
        select product_id, level, audit_sample.category_id, external_id from audit_sample
        join product on product.id = product_id""",
        )
    }
    with open(shop.folder / "audit.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "decision", "label", "audit"])
        for position, number in enumerate(numbers):
            wrong = is_wrong(position, rows[number])
            writer.writerow([number, "wrong" if wrong else "right", rows[number][2], 1])
    return run(shop.folder, "--overrides", "audit.csv", script="analyze")


def more(shop, first=6000, count=300):
    """Load more products without a category."""
    write(shop.folder, "more.tsv", list(feed_rows(count, first, seed=5)))
    run(shop.folder, "--feed", "more.tsv", "--source", "new", "--unlabelled", script="crawl")


def test_a_promise_that_an_audit_refutes_files_nothing_more_there(shop):
    apply(shop.folder)
    before = filed(shop.folder)
    done = answer(shop, 120, lambda position, row: row[1] == "leaf" and position % 4 == 0)
    assert "audit of the leaf" in done.stdout and ": broken" in done.stdout
    more(shop)
    tried = apply(shop.folder, "--dry-run", status=1)
    done = apply(shop.folder, status=1)
    for said in (tried.stderr, done.stderr):
        assert "the audit refutes the promise of 95 % at the leaf" in said
        assert "Nothing more is filed at the leaf (--file-anyway does)" in said
        assert re.search("The answers (support 95 % at no threshold|agree|confirm)", said)
    after = filed(shop.folder)
    leaves = {number for number, level in after.items() if level == "leaf"}
    new = {n for (n,) in query(shop.folder, "select id from product where source = 'new'")}
    assert new and leaves and leaves.isdisjoint(new)
    # What stood there stays, without what a person has decided or called wrong.
    decided = {n for (n,) in query(shop.folder, "select product_id from label_override")}
    wrong = {
        n
        for (n,) in query(shop.folder, "select product_id from audit_sample where answer = 'wrong'")
    }
    assert leaves == {n for n, level in before.items() if level == "leaf"} - decided - wrong
    assert new & set(after)  # the parent's promise is not broken
    # Again, it does the same; anyway, it files the rest, but nothing that was called wrong.
    assert filed(shop.folder) == after
    done = apply(shop.folder, "--file-anyway", status=1)
    assert "Products are filed there anyway" in done.stderr
    anyway = filed(shop.folder)
    assert any(anyway.get(number) == "leaf" for number in new)
    assert wrong.isdisjoint(anyway)
    lines = run(shop.folder, "--models", script="analyze").stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  95% with"))
    assert re.match(
        r"    audit of the leaf, from score 0\.\d+ on: broken\. Of \d+ filed", lines[at + 1]
    )
    listed = json.loads(run(shop.folder, "--models", "--json", script="analyze").stdout)
    found = listed[0]["audits"]["95"][0]
    assert found["level"] == "leaf" and found["verdict"] == "broken"
    of_whole = query(
        shop.folder,
        """select count(*) from audit_sample where answer = 'wrong' and level = 'leaf'
           and threshold is not null""",
    )
    assert [(found["counts"]["wrong"],)] == of_whole != [(0,)]


def test_a_promise_that_an_audit_confirms_is_filed_by_on(shop):
    apply(shop.folder)
    done = answer(shop, 400, lambda position, row: False)
    assert "audit of the leaf" in done.stdout and ": kept" in done.stdout
    more(shop)
    done = apply(shop.folder)
    assert re.search(r"audit of the leaf, from score 0\.\d+ on: kept", done.stderr)
    new = {n for (n,) in query(shop.folder, "select id from product where source = 'new'")}
    assert any(filed(shop.folder).get(number) == "leaf" for number in new)
    assert "decided" in done.stdout  # what was called right is printed as a person's


def test_without_an_audit_nothing_is_said_of_one(shop):
    done = apply(shop.folder)
    assert "audit of" not in done.stderr
    assert "audit" not in run(shop.folder, "--models", script="analyze").stdout
