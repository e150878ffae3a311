"""Exports: what was filed and decided goes out as each shop system's import takes it, and loaded by
crawl.py it gives the same categories.

pytest tests/test_export.py
"""

import csv
import io
import json
import random
import re

import pytest
from exports import (
    TREE,
    decide,
    file_at,
    filed_where,
    lists,
    load,
    make_experiment,
    readable,
    rows,
    run,
    write_tsv,
)
from test_audit import answer_all, folder  # noqa: F401 (a fixture)

from crawling import feed_dialects
from evaluation.export_formats import FORMATS

NEW = ("n-1", "n-2", "-12", "=1+1", "0012", 'a"b', "x,y;z", "n-8", "n-9")
FILED = {  # of products without a label: where they are filed, and at which level
    "n-1": ("Women > Jeans > Bootcut", "leaf"),
    "n-2": ("Women > Jeans", "parent"),
    "-12": ("Women > Jeans > Skinny", "leaf"),
    "=1+1": ("Men > Shorts", "leaf"),
    "0012": ("Men > Куртки", "leaf"),
    'a"b': ("Men", "parent"),
    "x,y;z": ("Men > Shorts", "leaf"),
    "n-8": (None, "person"),
}
BACK = {  # what crawl.py is told, to read a file of a format
    "merchant": ("--column", "title=id"),
    "meta": ("--column", "title=id"),
    "shopify": (),
    "woocommerce": ("--column", "title=SKU"),
    "magento": ("--column", "title=sku"),
    "prestashop": ("--separator", "/"),
    "jsonl": (),
    "csv": (),
}


@pytest.fixture
def shop(tmp_path):
    """A shop of TREE, with new products that experiment 1 has filed, and one that is decided."""
    load(tmp_path, write_tsv(tmp_path / "old.tsv", TREE))
    new = write_tsv(tmp_path / "new.tsv", [(number, f"Thing {number}", "") for number in NEW])
    load(tmp_path, new)
    make_experiment(tmp_path)
    for number, (path, level) in FILED.items():
        file_at(tmp_path, number, path, level)
    decide(tmp_path, [("n-9", "filed by hand", "", "Women > Jeans > Skinny")])
    return tmp_path


def export(folder, form, *flags, status=0):
    return run(folder, "--export", "1", "--format", form, *flags, status=status)


def table(text, delimiter=","):
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def meant():
    """What each exported product's category is, as filed_where says it."""
    filed = {number: path.replace(" > ", "|") for number, (path, _) in FILED.items() if path}
    return {**filed, "n-9": "Women|Jeans|Skinny"}


# ---- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", BACK)
def test_what_is_exported_and_loaded_again_is_in_the_same_categories(shop, form):
    done = export(shop, form, "-o", "out.txt")
    assert "exported: 8 products (5 filed at the leaf, 2 at the parent, 1 decided" in done.stderr
    load(shop, "out.txt", *BACK[form], name="check.db")
    back = filed_where(shop, "check.db")
    if form == "csv":  # these two ids are not as the shop gave them, and a line says so
        assert "2 ids of the CSV are not as the shop gave them" in done.stderr
        back = {number.removeprefix("'"): path for number, path in back.items()}
        back = {("x,y;z" if number == "x,y;z" else number): path for number, path in back.items()}
    assert back == meant()


def test_printed_and_written_to_a_file_are_the_same_bytes(shop):
    printed = run(shop, "--export", "1", "--format", "meta").stdout
    export(shop, "meta", "-o", "out.csv")
    assert (shop / "out.csv").read_bytes() == printed.encode()
    assert printed.startswith("id,product_type\n")


@pytest.mark.parametrize("form", [form for form in BACK if form != "csv"])
def test_ids_go_out_exactly_but_in_the_table_for_spreadsheets(shop, form):
    text = export(shop, form).stdout
    if form == "jsonl":
        ids = {json.loads(line)["id"] for line in text.splitlines()}
    else:
        ids = {row[0] for row in table(text, FORMATS[form].delimiter)[1:]}
    assert ids == set(meant())


def test_a_cell_that_a_spreadsheet_would_run_is_safe_in_csv(shop):
    ids = {row[0] for row in table(export(shop, "csv").stdout)[1:]}
    assert {"'-12", "'=1+1"} < ids and {"-12", "=1+1"}.isdisjoint(ids)


def test_csv_and_jsonl_have_the_columns_of_apply(shop):
    from evaluation import filing_output

    assert tuple(table(export(shop, "csv").stdout)[0]) == filing_output.COLUMNS
    line = json.loads(export(shop, "jsonl").stdout.splitlines()[0])
    assert line["path"] == "Women > Jeans > Bootcut" and line["category"] == "women.jeans.bootcut"
    assert (line["level"], line["score"], line["source"]) == ("leaf", 0.9, "feed")


# ---- what goes out ------------------------------------------------------------------------------


def test_only_leaf_leaves_out_what_is_at_the_parent_and_a_decision_at_a_leaf_goes_out(shop):
    done = export(shop, "jsonl", "--only", "leaf")
    out = {json.loads(line)["id"] for line in done.stdout.splitlines()}
    assert out == set(meant()) - {"n-2", 'a"b'}
    assert "not exported: 2 products at the parent only" in done.stderr
    assert "not exported: 1 product that a person has to decide on" in done.stderr


def test_only_leaf_leaves_out_a_decision_at_a_category_that_holds_no_products_itself(shop):
    decide(shop, [("n-9", "filed by hand", "women", "")])
    assert "n-9" in export(shop, "jsonl").stdout
    assert "n-9" not in export(shop, "jsonl", "--only", "leaf").stdout


def test_parents_that_go_out_are_named_with_what_comes_of_it(shop):
    assert "--only leaf leaves them out" in export(shop, "merchant").stderr


@pytest.mark.parametrize("only", [(), ("--only", "leaf")])
def test_the_same_file_says_as_much_of_what_goes_out_as_the_other_formats(shop, only):
    decide(shop, [("n-1", "filed by hand", "", "Men > Hats")])
    same = ("--feed", "new.tsv")
    said = {
        form: export(shop, form, *only, *flags, "-o", "out.txt").stderr.splitlines()
        for form, flags in (("jsonl", ()), ("same", same))
    }
    first, *others = said["jsonl"]
    assert first.startswith("exported: ") and any("'Men > Hats' (1)" in line for line in others)
    assert len(others) == 3 and said["same"][1:] == others


def test_a_category_that_a_person_has_typed_goes_out_and_is_named(shop):
    decide(shop, [("n-8", "filed by hand", "", "Men > Hats, warm")])
    done = export(shop, "woocommerce", "-o", "out.csv")
    assert "categories that the shop does not have yet" in done.stderr
    assert "'Men > Hats, warm' (1)" in done.stderr
    load(shop, "out.csv", "--column", "title=SKU", name="check.db")
    assert filed_where(shop, "check.db") == {**meant(), "n-8": "Men|Hats, warm"}


def test_a_label_that_a_person_has_corrected_goes_out_and_other_categories_stay(tmp_path):
    lines = [
        ("l-1", "Red Bootcut", "Women > Jeans; Sale > Red things"),
        ("l-2", "Blue Skinny", "Women > Shirts"),
        ("l-3", "Green Skinny", "Women > Jeans"),
    ]
    load(tmp_path, write_tsv(tmp_path / "old.tsv", lines))
    make_experiment(tmp_path)
    decide(tmp_path, [("l-1", "label wrong", "", "Women > Shirts")])
    assert lists(tmp_path)["l-1"] == {"Women|Jeans", "Sale|Red things"}
    done = export(tmp_path, "woocommerce")
    assert table(done.stdout) == [
        ["SKU", "Categories"],
        ["l-1", "Women > Shirts, Sale > Red things"],
    ]
    assert table(export(tmp_path, "meta").stdout)[1:] == [["l-1", "Women > Shirts"]]


OTHERS = {  # what crawl.py is told, to read a file with several categories of a product
    "woocommerce": ("--column", "title=ID"),
    "magento": ("--column", "title=sku"),
    "prestashop": (),
}


@pytest.mark.parametrize("form", OTHERS)
def test_the_other_categories_of_a_corrected_product_come_back(tmp_path, form):
    system = {"woocommerce": "ID,Type,SKU,Name", "prestashop": "Product ID,Active (0/1),Ref,Name"}
    head = system.get(form, "sku,attribute_set_code,x,name")
    data = f'{head},Categories\n1,1,,Red,"Women/Jeans,Sale"\n2,1,,Blue,Women/Shirts\n'
    if form == "woocommerce":
        data = data.replace("/", " > ")
    (tmp_path / "old.csv").write_text(data)
    load(tmp_path, "old.csv")
    assert lists(tmp_path) == {"1": {"Women|Jeans", "Sale"}, "2": {"Women|Shirts"}}
    make_experiment(tmp_path)
    decide(tmp_path, [("1", "label wrong", "women.shirts", "")])
    assert "their ids go out as" not in export(tmp_path, form, "-o", "out.csv").stderr
    load(tmp_path, "out.csv", *OTHERS[form], name="check.db")
    assert lists(tmp_path, "check.db") == {"1": {"Women|Shirts", "Sale"}}
    assert filed_where(tmp_path, "check.db") == {"1": "Women|Shirts"}


def test_a_decision_on_a_label_that_the_shop_has_changed_since_does_not_go_out(tmp_path):
    load(tmp_path, write_tsv(tmp_path / "old.tsv", TREE))
    make_experiment(tmp_path)
    decide(tmp_path, [("l-1", "label wrong", "", "Men > Shorts")])
    assert "l-1" in export(tmp_path, "meta").stdout
    moved = [("l-1", "Red Bootcut", "Women > Jeans > Skinny"), *TREE[1:]]
    load(tmp_path, write_tsv(tmp_path / "old.tsv", moved))
    assert "there is nothing to export" in export(tmp_path, "meta", status=2).stderr


def test_a_category_that_was_renamed_since_goes_out_by_its_name_of_now(shop):
    (shop / "moves.csv").write_text("from,to\nMen > Shorts,Men > Short trousers\n")
    run(shop, "--recategorize", "moves.csv")
    text = export(shop, "merchant").stdout
    assert "Men > Short trousers" in text and "Men > Shorts" not in text


def test_a_category_that_is_gone_is_left_out_and_named(shop):
    (shop / "moves.csv").write_text("from,to\nMen > Shorts,\n")
    run(shop, "--recategorize", "moves.csv")
    done = export(shop, "merchant", status=1)
    assert "Shorts" not in done.stdout
    assert "left out: 2 products" in done.stderr and "run --apply 1 again" in done.stderr


REFUTED = "the audit refutes the promise of 95 % at the leaf"


@pytest.mark.parametrize("form", ["csv", "same"])
def test_an_audit_that_refutes_the_promise_is_named_before_it_goes_out(folder, form):  # noqa: F811
    feed = [(f"sku-{number}", f"Name {number}", "") for number in range(1001, 1401)]
    same = ("--feed", write_tsv(folder / "new.tsv", feed)) if form == "same" else ()
    assert "the audit" not in export(folder, form, *same).stderr
    answer_all(folder, lambda position: position % 4 == 0)
    said = export(folder, form, *same, "--only", "leaf").stderr
    assert REFUTED in said and "What was filed there goes out all the same" in said
    assert "at the parent:" not in said  # these do not go out
    assert said.count("the audit refutes") == 1


@pytest.mark.parametrize("form", [*BACK, "same"])
def test_a_decision_for_a_category_that_is_gone_is_left_out_and_named(shop, form):
    """Its id, men.shorts, went out as if a person had typed it."""
    decide(
        shop, [("n-8", "filed by hand", "men.shorts", ""), ("l-1", "label wrong", "men.shorts", "")]
    )
    (shop / "moves.csv").write_text("from,to\nMen > Shorts,\n")
    run(shop, "--recategorize", "moves.csv")
    lines = [*TREE, *((number, f"Thing {number}", "") for number in NEW)]
    same = ("--feed", write_tsv(shop / "all.tsv", lines)) if form == "same" else ()
    done = export(shop, form, *same, "-o", "out.txt", status=1)
    assert "men.shorts" not in (shop / "out.txt").read_text(encoding="utf-8")
    assert "its category is gone: decide again, with --overrides" in done.stderr
    assert "its category is gone: run --apply 1 again" in done.stderr
    for number in ("l-1", "n-8", "=1+1", "x,y;z"):
        assert re.search(f"id {re.escape(number)}[ ),]", done.stderr), number


# ---- what a format can't hold -------------------------------------------------------------------

SIGNS = {  # a name of a category -> the formats that can't hold it
    "Bags, Wallets": {"merchant", "magento", "prestashop"},
    "Size > 40": {"merchant", "meta", "shopify", "woocommerce"},
    "And/or": {"prestashop"},
    "2024": {"prestashop"},
    "x" * 300: {"shopify"},
    'Best "of" it': set(),
}


@pytest.mark.parametrize("name", SIGNS)
@pytest.mark.parametrize("form", BACK)
def test_a_name_that_a_format_can_not_hold_is_left_out_and_named(tmp_path, form, name):
    lines = [("l-1", "Red", name), ("l-2", "Blue", "Men|Shorts"), ("l-3", "Coat", "Men|Coats")]
    load(tmp_path, write_tsv(tmp_path / "old.tsv", lines), "--separator", "|")
    new = [("n-1", "Green", ""), ("n-2", "White", "")]
    load(tmp_path, write_tsv(tmp_path / "new.tsv", new))
    make_experiment(tmp_path)
    file_at(tmp_path, "n-1", [name])
    file_at(tmp_path, "n-2", "Men > Shorts")
    refused = form in SIGNS[name]
    done = export(tmp_path, form, "-o", "out.txt", status=1 if refused else 0)
    assert (f"left out: 1 product (id n-1 in {name[:100]})" in done.stderr) == refused
    load(tmp_path, "out.txt", *BACK[form], name="check.db")
    back = filed_where(tmp_path, "check.db")
    assert back == {"n-2": "Men|Shorts", **({} if refused else {"n-1": name})}


@pytest.mark.parametrize("form", BACK)
def test_a_name_does_not_escape_what_stands_behind_it(shop, form):
    decide(shop, [("n-8", "filed by hand", "", "Men \\ > Hats")])
    refused = form in ("magento", "woocommerce")
    done = export(shop, form, "-o", "out.txt", status=1 if refused else 0)
    said = "can't have a backslash at the end of a category's name"
    assert (said in done.stderr) == refused
    load(shop, "out.txt", *BACK[form], name="check.db")
    back = filed_where(shop, "check.db")
    assert back.get("n-8") == (None if refused else "Men \\|Hats")


# ---- where the products came from ---------------------------------------------------------------

WOOCOMMERCE = """ID,Type,SKU,Name,Published,Categories
11,simple,s-11,Red,1,Men > Shorts
12,simple,s-12,Blue,1,"Men > Coats\\, warm"
13,simple,s-13,Green,1,
"""


def test_products_of_woocommerce_go_out_by_their_id_there(tmp_path):
    (tmp_path / "wc.csv").write_text(WOOCOMMERCE)
    load(tmp_path, "wc.csv")
    make_experiment(tmp_path)
    file_at(tmp_path, "13", "Men > Coats, warm")
    done = export(tmp_path, "woocommerce")
    assert done.stdout == 'ID,Categories\n13,"Men > Coats\\, warm"\n'
    assert "their ids go out as" not in done.stderr
    assert "their ids go out as sku" in export(tmp_path, "magento", status=1).stderr


def test_products_of_a_woocommerce_file_without_ids_go_out_by_their_sku(tmp_path):
    bare = "".join(
        ",".join(["", *line.split(",")[1:]]) + "\n" for line in WOOCOMMERCE.splitlines()[1:]
    )
    (tmp_path / "wc.csv").write_text(WOOCOMMERCE.splitlines()[0] + "\n" + bare)
    load(tmp_path, "wc.csv")
    make_experiment(tmp_path)
    file_at(tmp_path, "s-13", "Men > Shorts")
    assert export(tmp_path, "woocommerce").stdout == "SKU,Categories\ns-13,Men > Shorts\n"


def test_an_id_that_is_no_number_is_none_of_woocommerce_and_is_named(tmp_path):
    (tmp_path / "wc.csv").write_text(WOOCOMMERCE + ",simple,s-14,White,1,\n")
    load(tmp_path, "wc.csv")
    make_experiment(tmp_path)
    file_at(tmp_path, "13", "Men > Shorts")
    file_at(tmp_path, "s-14", "Men > Shorts")
    done = export(tmp_path, "woocommerce", status=1)
    assert done.stdout == "ID,Categories\n13,Men > Shorts\n"
    assert "left out: 1 product (id s-14 in Men > Shorts): an id that is no number" in done.stderr


def test_a_variation_of_woocommerce_has_the_categories_of_its_parent(tmp_path):
    text = WOOCOMMERCE.replace("Categories", "Parent,Categories").replace("1,Men", "1,,Men")
    text = text.replace('1,"Men', '1,,"Men').replace("Green,1,", "Green,1,,")
    (tmp_path / "wc.csv").write_text(text + "14,variation,s-14,Green S,1,id:13,\n")
    load(tmp_path, "wc.csv")
    make_experiment(tmp_path)
    for number in ("13", "14"):
        file_at(tmp_path, number, "Men > Shorts")
    done = export(tmp_path, "woocommerce")
    assert done.stdout == "ID,Categories\n13,Men > Shorts\n"
    assert "not exported: 1 variant (a variant has its parent's" in done.stderr
    assert len(export(tmp_path, "jsonl").stdout.splitlines()) == 2
    said = export(tmp_path, "same", "--feed", "wc.csv", "-o", "out.csv").stderr
    assert "wc.csv: 1 row filled in" in said and "1 row left empty" in said
    assert "does not have" not in said
    load(tmp_path, "out.csv", name="check.db")
    assert filed_where(tmp_path, "check.db")["14"] == "Men|Shorts"


def test_products_that_came_from_elsewhere_are_said_to(shop):
    done = export(shop, "shopify")
    assert "does not know the products of 'feed' from a file of Shopify" in done.stderr
    assert "their ids go out as URL handle" in done.stderr
    assert "their ids go out as" not in export(shop, "jsonl").stderr


def test_a_crawl_db_of_an_older_version_takes_ids_for_the_shops_own_keys(tmp_path):
    (tmp_path / "wc.csv").write_text(WOOCOMMERCE)
    load(tmp_path, "wc.csv")
    make_experiment(tmp_path)
    file_at(tmp_path, "13", "Men > Shorts")
    rows(tmp_path, "drop table feed_system")
    rows(tmp_path, "delete from schema_version where name = 'feed_system table'")
    done = export(tmp_path, "woocommerce")
    assert done.stdout == "SKU,Categories\n13,Men > Shorts\n"
    assert "does not know the products" in done.stderr


def test_shopifys_own_tree_goes_out_in_its_own_column(tmp_path):
    (tmp_path / "products.csv").write_text(
        "Handle,Title,Body (HTML),Product Category,Type\n"
        "red,Red,,Apparel > Clothing > Pants,\nblue,Blue,,Apparel > Clothing > Shirts,\n"
        "green,Green,,,\n"
    )
    load(tmp_path, "products.csv")
    make_experiment(tmp_path)
    file_at(tmp_path, "green", "Apparel > Clothing > Pants")
    done = export(tmp_path, "shopify")
    assert table(done.stdout) == [
        ["URL handle", "Title", "Product category"],
        ["green", "Green", "Apparel > Clothing > Pants"],
    ]
    assert done.stderr.startswith("exported: 1 product")


def test_a_later_load_without_categories_keeps_the_column_that_has_them(tmp_path):
    head = "id\ttitle\timage_link\tgoogle_product_category\n"
    (tmp_path / "old.tsv").write_text(
        f"{head}1\tRed\t\tApparel > Pants\n2\tBlue\t\tApparel > Hats\n"
    )
    (tmp_path / "new.tsv").write_text(f"{head}3\tGreen\t\t\n")
    load(tmp_path, "old.tsv")
    load(tmp_path, "new.tsv")
    make_experiment(tmp_path)
    file_at(tmp_path, "3", "Apparel > Hats")
    text = export(tmp_path, "merchant").stdout
    assert text == "id\tgoogle_product_category\n3\tApparel > Hats\n"


def test_the_formats_name_systems_and_columns_that_the_load_knows():
    dialects = {dialect.name: dialect for dialect in feed_dialects.DIALECTS}
    for form in FORMATS.values():
        columns = dialects[form.written_by].columns
        assert set(form.own_ids) <= set(columns["id"])
        assert set(form.standard) <= set(columns.get("standard", ()))


# ---- mistakes -----------------------------------------------------------------------------------


def test_products_of_several_shops_are_not_mixed(shop):
    load(shop, write_tsv(shop / "b.tsv", [("n-1", "Thing", "")]), "--source", "second")
    file_at(shop, "n-1", "Men > Shorts", source="second")
    done = export(shop, "merchant", status=2)
    assert "name one with --source (feed, second)" in done.stderr and done.stdout == ""
    text = export(shop, "merchant", "--source", "second").stdout
    assert text == "id\tproduct_type\nn-1\tMen > Shorts\n"
    assert len(export(shop, "jsonl").stdout.splitlines()) == 9
    assert "no shop 'third'" in export(shop, "jsonl", "--source", "third", status=2).stderr


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--export", "7"), "there is no experiment 7"),
        (("--format", "csv"), "--format is for --export"),
        (("--only", "leaf"), "--only is for --export"),
        (("--export", "1", "--format", "same"), "--format same needs the file"),
        (("--export", "1", "--feed", "new.tsv"), "--feed is for --format same"),
        (("--export", "1", "--encoding", "cp1252"), "--encoding is for --format same"),
        (("--export", "1", "--json"), "leave --json out"),
        (("--export", "1", "-o", "crawl.db"), "--output would replace crawl.db"),
        (("--export", "1", "-o", "no/such/folder.csv"), "can't be written"),
        (
            ("--export", "1", "--format", "same", "--feed", "new.tsv", "-o", "new.tsv"),
            "--output would replace new.tsv",
        ),
        (("--export", "1", "--format", "same", "--feed", "gone.tsv"), "is no file on this machine"),
    ],
)
def test_mistakes_get_one_sentence(shop, flags, sentence):
    done = run(shop, *flags, status=2)
    assert sentence in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_an_experiment_that_has_filed_nothing_itself_is_said_to(shop):
    make_experiment(shop, 2)
    words = "experiment 2 itself has filed nothing: only what people decided goes out; --apply 2"
    for number in (1, 2):
        done = run(shop, "--export", number, "--format", "merchant")
        assert (words in done.stderr) == (number == 2), done.stderr


def test_a_page_for_review_is_told_by_how_many_products_it_has(shop):
    make_experiment(shop, 2)
    said = run(shop, "--review", 1, "--top", 2, "-o", "page.html").stderr
    assert "2 of 3 products left to a person or filed at the parent\n" in said
    said = run(shop, "--review", 2, "-o", "page.html").stderr
    assert "experiment 2 has filed nothing yet: run its classifier with --apply 2\n" in said


def test_with_nothing_filed_it_says_what_to_do(tmp_path):
    load(tmp_path, write_tsv(tmp_path / "old.tsv", TREE))
    make_experiment(tmp_path)
    done = export(tmp_path, "csv", status=2)
    assert "there is nothing to export" in done.stderr and "--apply 1" in done.stderr


# ---- from training to the shop and back ---------------------------------------------------------


@pytest.mark.slow
def test_what_a_trained_model_files_comes_back_as_it_was_filed(tmp_path):
    rng = random.Random(5)
    leaves = [f"{top} > {leaf}" for top in ("Women", "Men") for leaf in ("Boot", "Tote", "Scarf")]

    def line(number, labelled):
        leaf = rng.choice(leaves)
        words = [*leaf.lower().split(" > "), *(f"word{rng.randrange(300)}" for _ in range(7))]
        rng.shuffle(words)
        return (f"p-{number}", " ".join(words), leaf if labelled else "")

    load(tmp_path, write_tsv(tmp_path / "old.tsv", [line(n, True) for n in range(900)]))
    load(tmp_path, write_tsv(tmp_path / "new.tsv", [line(n, False) for n in range(900, 1000)]))
    run(tmp_path, "--min-products", "20", "--folds", "5", script="categorize_words")
    flags = ("--apply", "1", "--target", "90", "--format", "jsonl")
    filed = run(tmp_path, *flags, script="categorize_words").stdout
    paths = {line["id"]: line["path"] for line in map(json.loads, filed.splitlines())}
    meant = {number: path.replace(" > ", "|") for number, path in paths.items() if path}
    assert len(meant) > 50
    for form in BACK:
        export(tmp_path, form, "-o", "out.txt")
        (tmp_path / "check.db").unlink(missing_ok=True)
        load(tmp_path, "out.txt", *BACK[form], name="check.db")
        assert filed_where(tmp_path, "check.db") == meant, form
    export(tmp_path, "same", "--feed", "new.tsv", "-o", "filled.tsv")
    (tmp_path / "check.db").unlink()
    load(tmp_path, "filled.tsv", name="check.db")
    back = filed_where(tmp_path, "check.db")
    assert {number: path for number, path in back.items() if path} == meant
