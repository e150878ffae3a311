"""Texts to words, terms and bags of words; what a saved network makes of words; --explain.

pytest tests/test_text_features.py
pytest tests/test_text_features.py -k explain
"""

import collections
import json
import re
import shutil
import sqlite3
import time
import unicodedata

import numpy as np
import pytest
from conftest import run_script, write_feed
from hypothesis import given
from hypothesis import strategies as st

import categorize_words
import db
from common.terminal import UserError
from learning import lexicons, saved_models, selection, term_counts, text_classifier, text_features

# ---- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        (" \t\r\n\u00a0\u3000", []),
        ("<li>Slim</li><li>fit</li>", ["slim", "fit"]),
        ("Women\u2019s", ["women's"]),
        ("WOMEN'S 'quoted' rock'n'roll'", ["women's", "quoted", "rock'n'roll"]),
        ("CAF\u00c9 caf\u0065\u0301", ["café", "café"]),
        ("T&amp;C &lt;b&gt;x", ["t", "c", "x"]),
        ("&amp;lt;p&amp;gt;", ["lt", "p", "gt"]),  # unescaped once
        ('27" a_b 100% 5.5cm XL/XXL', ["27", "a", "b", "100", "5", "5cm", "xl", "xxl"]),
        ("3 < 4 and 5 > 2", ["3", "4", "and", "5", "2"]),
        ("wide <b", ["wide", "b"]),
        ("<a href='x>y'>z", ["y", "z"]),
        ("a<!-- b -->c<br/>d</p >e", ["a", "c", "d", "e"]),
        ("\u30b8\u30fc\u30f3\u30ba 红色dress", [*"ジーンズ红色", "dress"]),
        ("किताब কাপড় ผ้า ชุดเดรส", ["किताब", "কাপড়", "ผ้า", "ชุดเดรส"]),
        ("שִׂמְלָה فُسْتَان", ["שִׂמְלָה", "فُسْتَان"]),
        ("Straße ПЛАТЬЕ Φόρεμα", ["strasse", "платье", "φόρεμα"]),
        ("a\x00b\x01c\u200bd", list("abcd")),
        ("👗dress👗 ½ ②", ["dress", "1", "2", "2"]),
        ("'''' ' '' n' 't", ["n", "t"]),
    ],
)
def test_words_keep_letters_of_every_language_and_lose_markup(text, expected):
    assert text_features.tokens(text) == [unicodedata.normalize("NFKC", word) for word in expected]


@given(st.text())
def test_any_text_has_words_without_blanks_that_are_cut_the_same_again(text):
    found = text_features.tokens(text.replace("&", "").replace("<", ""))
    assert all(word and not any(map(str.isspace, word)) for word in found)
    assert text_features.tokens(" ".join(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "<" * 1_000_000,
        "<a" * 500_000,
        "&" * 1_000_000,
        "'" * 1_000_000,
        "a'" * 500_000,
        "word " * 1_000_000,
        "é" * 1_000_000,
        "\u0301" * 1_000_000,
        "&lt" * 300_000,
    ],
)
def test_a_text_of_a_megabyte_is_read_at_once(text):
    began = time.process_time()
    text_features.tokens(text)
    assert time.process_time() - began < 20  # and not in minutes or for ever


def test_the_words_of_2016_are_cut_as_they_were():
    assert text_features.tokens_of_2016("Women's <b>Café</b> a</li>\nb c-d <B>") == [
        "womens",
        "caf",
        "alib",
        "cd",
    ]


# ---- terms --------------------------------------------------------------------------------------

TEXTS = [
    ("Slim Jean", "blue slim jean"),
    ("", ""),
    ("Jean", ""),
    ("", "blue slim"),
    ("Red", "slim jean blue slim"),
]


def terms_of(texts, **options):
    return term_counts.count_terms(lambda: iter(texts), **options)


def test_a_text_has_its_words_in_order_and_each_as_often_as_it_stands_there():
    terms = terms_of(TEXTS)
    words = [text_features.tokens(f"{name} {text}") for name, text in TEXTS]
    assert list(terms.words()) == words
    counts = terms.counts.toarray()
    for column, term in enumerate(terms.names):
        if terms.kinds[column] == term_counts.WORD:
            assert counts[:, column].tolist() == [text.count(term) for text in words]


def spelled(terms, columns=None):
    """The terms of each text, in words."""
    columns = np.arange(len(terms.names)) if columns is None else columns
    has = term_counts.presence(terms, columns)
    return [{*terms.names[columns[has[row].indices]]} for row in range(has.shape[0])]


def expected_terms(name, text, often):
    title, all_words = text_features.tokens(name), text_features.tokens(f"{name} {text}")
    return (
        {*all_words}
        | {f"name:{word}" for word in title}
        | {pair for pair in map(" ".join, zip(all_words, all_words[1:])) if pair in often}
    )


def test_terms_are_words_words_of_the_name_and_pairs_that_three_texts_have():
    for times, pairs in (
        (1, {"blue slim"}),
        (3, {"slim jean", "jean blue", "blue slim", "red slim"}),
    ):
        terms = terms_of(TEXTS * times)
        columns, _ = term_counts.choose_terms(terms, np.arange(len(TEXTS) * times))
        assert spelled(terms, columns=columns)[: len(TEXTS)] == [
            expected_terms(name, text, pairs) for name, text in TEXTS
        ]
    assert all(
        ":" not in term and " " not in term
        for one in spelled(terms_of(TEXTS * 3, words_alone=True))
        for term in one
    )


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcde"), max_size=4).map(" ".join),
            st.lists(st.sampled_from("abcdefg"), max_size=8).map(" ".join),
        ),
        min_size=1,
        max_size=30,
    ).filter(lambda texts: any("".join(t) for t in texts))
)
def test_terms_are_those_of_a_plain_loop(texts):
    terms = terms_of(texts)
    counts = {}
    for name, text in texts:
        both = text_features.tokens(f"{name} {text}")
        for pair in {*map(" ".join, zip(both, both[1:]))}:
            counts[pair] = counts.get(pair, 0) + 1
    columns, idf = term_counts.choose_terms(terms, np.arange(len(texts)))
    assert spelled(terms, columns=columns) == [
        expected_terms(name, text, {pair for pair in counts if counts[pair] >= 3})
        for name, text in texts
    ]
    often = np.asarray(term_counts.presence(terms, columns).sum(axis=0)).ravel()
    assert idf == pytest.approx(np.log((1 + len(texts)) / (1 + often)) + 1)


def test_texts_of_more_words_than_are_counted_at_a_time_have_the_terms_of_a_plain_loop():
    rng = np.random.default_rng(0)
    texts = [
        (f"n{number % 3} red", " ".join(map("w{}".format, rng.integers(900, size=size))))
        for number, size in enumerate([200_000, 0, 5, 300_000, 100_000, 3, 0, 20_000, 0])
    ]
    assert sum(len(text.split()) for _, text in texts) > 2 * term_counts.PIECE
    terms = terms_of(texts)
    rare = terms.names[terms.kinds == term_counts.PAIR]
    for row, (name, text) in enumerate(texts):
        words = f"{name} {text}".split()
        pairs = collections.Counter(map(" ".join, zip(words, words[1:])))
        counts = collections.Counter(words) + collections.Counter(f"name:{w}" for w in name.split())
        counts.update({pair: pairs[pair] for pair in {*rare} & {*pairs}})
        here = terms.counts[row].toarray()[0]
        assert dict(zip(terms.names[here > 0], here[here > 0])) == counts


def test_the_vocabulary_is_the_20000_terms_of_most_training_texts_and_of_equals_the_first():
    known = [f"w{number:05}" for number in range(20_005)]
    texts = [("", " ".join(known)), ("", f"{known[-1]} {known[-3]}"), ("", f"{known[-2]} new " * 9)]
    terms = terms_of(texts)
    columns, _ = term_counts.choose_terms(terms, np.array([0, 1]))
    assert terms.names[columns].tolist() == sorted(known[:19_998] + [known[-1], known[-3]])
    columns, _ = term_counts.choose_terms(terms, np.array([1]))
    assert terms.names[columns].tolist() == [known[-3], known[-1]]


def test_a_pair_that_only_test_products_have_is_no_term():
    terms = terms_of([("", "a b")] * 2 + [("", "a"), ("", "b")] + [("", "a b")] * 5)
    columns, _ = term_counts.choose_terms(terms, np.arange(4))
    assert terms.names[columns].tolist() == ["a", "b"]


def test_a_word_of_a_megabyte_is_no_term():
    terms = terms_of([("", "x" * 1_000_000 + " dress"), ("", "dress")])
    columns, _ = term_counts.choose_terms(terms, np.arange(2))
    assert terms.names[columns].tolist() == ["dress"]


def test_texts_without_a_word_are_one_sentence():
    with pytest.raises(UserError, match="no words"):
        terms_of([("", " "), ("-", "<br>")])


def test_a_bag_of_words_is_tf_idf_as_scikit_learn_has_it_five_long():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [" ".join(text) for text in TEXTS if any(text)]
    theirs = TfidfVectorizer(binary=True, token_pattern=r"\S+").fit_transform(texts)
    terms = terms_of([("", text) for text in texts], words_alone=True)
    columns, idf = term_counts.choose_terms(terms, np.arange(len(texts)))
    ours = text_features.weigh(term_counts.presence(terms, columns), idf)
    np.testing.assert_allclose(ours.toarray(), 5 * theirs.toarray(), rtol=1e-5)
    terms = terms_of([("", "a"), ("", "")], words_alone=True)
    empty = text_features.weigh(term_counts.presence(terms, np.array([0])), np.ones(1, np.float32))
    assert empty.toarray().tolist() == [[5], [0]]


# ---- a saved network ----------------------------------------------------------------------------


def model_of(texts, seed=0):
    """(described, weights) of a network of chance over the terms of texts, and its bag of them."""
    terms = terms_of(texts)
    options = text_classifier.TextOptions()
    inputs = text_classifier.text_inputs(terms, np.arange(len(texts)), options)
    rng = np.random.default_rng(seed)
    weights = {
        "hidden_kernel": rng.normal(size=(inputs.bag.shape[1], 100)),
        "hidden_bias": rng.normal(size=100),
        "kernel": rng.normal(size=(100, 4)),
        "bias": rng.normal(size=4),
    }
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    return (
        text_classifier.description(terms, inputs.columns, options),
        {**weights, "idf": inputs.idf},
        inputs,
    )


@pytest.mark.parametrize("fields", [["name"], ["description"]])
def test_one_text_has_no_words_of_a_field_that_the_model_does_not_read(fields):
    described, weights, _ = model_of(TEXTS * 3)
    described["fields"] = fields
    some = {"name": "red jeans", "description": "blue dress"}
    only = {field: text if field in fields else "" for field, text in some.items()}
    one, other = (lexicons.one_text(described, weights, *texts.values()) for texts in (some, only))
    assert [part.tolist() for part in one] == [part.tolist() for part in other]


def test_one_text_has_the_bag_it_had_among_all():
    described, weights, inputs = model_of(TEXTS * 3)
    for row, text in enumerate(TEXTS):
        columns, values = lexicons.one_text(described, weights, *text)
        assert columns.tolist() == sorted(inputs.bag[row].indices.tolist())
        assert values == pytest.approx(inputs.bag[row].toarray().ravel()[columns], rel=1e-5)


@pytest.mark.parametrize("text", TEXTS + [("unheard", "of")])
def test_contributions_and_the_rest_are_the_difference_of_the_logits(text):
    described, weights, _ = model_of(TEXTS * 3)
    columns, values = lexicons.one_text(described, weights, *text)
    logits = (
        np.maximum(values @ weights["hidden_kernel"][columns] + weights["hidden_bias"], 0)
        @ weights["kernel"]
        + weights["bias"]
    )
    for first, second in ((0, 3), (2, 1), (1, 1)):
        said, rest = text_features.contributions(weights, columns, values, first, second)
        assert len(said) == len(columns)
        assert said.sum() + rest == pytest.approx(logits[first] - logits[second], abs=1e-3)


# ---- the script ---------------------------------------------------------------------------------

ODD = [
    "",
    " \t ",
    "\x01\x02",
    "👗👠",
    "<li",
    "unheard",
    "x" * 1_000_000,
    "жж 服 ผ้า",
    "word " * 200_000,
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder with a crawl.db of 60 plain products in each of two leaves and odd ones among them,
    classified with three folds."""
    folder = tmp_path_factory.mktemp("odd")
    rows = []
    for number in range(120):
        kind = ("flared denim jean", "evening clutch bag")[number % 2]
        rows.append(
            (
                str(number),
                f"{kind} {number}",
                f"{kind} of style {number % 7}",
                ("Jeans > Flared", "Bags > Clutches")[number % 2],
            )
        )
    for number, text in enumerate(ODD):
        rows.append(
            (f"odd-{number}", text.strip() or "-", text.replace("\t", " "), "Jeans > Flared")
        )
    write_feed(folder / "products.tsv", rows, "id title description product_type")
    assert run_script("crawl", "--feed", "products.tsv", cwd=folder).returncode == 0
    done = run_script("categorize_words", "--min-products", "1", "--folds", "3", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def rows_of(folder, statement, *values):
    conn = sqlite3.connect(folder / "crawl.db")
    try:
        return conn.execute(statement, values).fetchall()
    finally:
        conn.close()


def test_odd_texts_get_a_prediction_and_those_without_a_known_word_the_same(odd):
    folder, done = odd
    found = rows_of(
        folder,
        """select description, score, fold from predicted_category
                               join product on product.id = product_id where experiment_id = 1""",
    )
    assert len(found) == 120 + len(ODD) and all(0 < score <= 1 for _, score, _ in found)
    silent = [
        (fold, score)
        for text, score, fold in found
        if text.strip() in {"", "\x01\x02", "👗👠", "unheard", "жж 服 ผ้า"}
    ]
    assert len(set(silent)) == len({fold for fold, _ in silent})
    sure = np.median([score for text, score, _ in found if "style" in text])
    assert max(score for _, score in silent) < sure  # less sure than of what it knows


def test_it_tells_of_the_vocabulary_and_each_epoch(odd):
    said = odd[1].stderr
    assert "different ones" in said
    assert len(re.findall(r"vocabulary: \d+ words, \d+ of names, \d+ pairs\n", said)) == 4
    assert re.search(r"fold 3 of 3: epoch \d+ of \d+, loss [\d.]+, .*s left\n", said)


def test_the_words_that_misled_are_told_of_the_worst_categories(tmp_path):
    """Every third jean is called a clutch; its words are to blame."""
    rows = [
        (
            str(i),
            f"{('jean', 'clutch')[i % 2 or i % 3 == 0]} {i}",
            f"style {i % 7}",
            ("Jeans > Flared", "Bags > Clutches")[i % 2],
        )
        for i in range(300)
    ]
    write_feed(tmp_path / "products.tsv", rows, "id title description product_type")
    run_script("crawl", "--feed", "products.tsv", cwd=tmp_path)
    done = run_script("categorize_words", "--min-products", "1", "--folds", "5", cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("  jeans.flared: ")]
    assert "50 taken for bags.clutches; " in line
    assert {"clutch", "name:clutch"} & {
        word.split(" +")[0] for word in line.split("; ")[1].split(", ")
    }


def explained(folder, product, **how):
    return run_script(
        "categorize_words", "--explain", product, "--experiment", 1, cwd=folder, **how
    )


def test_explain_shows_words_for_and_against_from_the_saved_model_without_what_is_slow(odd):
    folder, _ = odd
    (product,) = rows_of(folder, "select id from product where external_id = '4'")[0]
    done = explained(folder, product, env={"PYTHONPROFILEIMPORTTIME": "1"}, process=True)
    assert done.returncode == 0, done.stderr
    assert not [
        line for line in done.stderr.splitlines() if re.search(r"\| +(tensorflow|sklearn)\b", line)
    ]
    assert "| " in done.stderr  # the list of imports is there
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"product {product}: flared denim jean 4")
    assert lines[1] == "  filed under jeans.flared"
    first = lines[2].split()
    assert first[1] == "jeans.flared" and lines[4] == "for jeans.flared"
    words_for = [line.split(maxsplit=1)[1] for line in lines[5 : lines.index("for bags.clutches")]]
    assert {"jean", "name:denim", "flared denim"} <= set(words_for)
    # What is shown adds up to the odds, and these are those of the two scores.
    together, second, rest, odds = map(float, re.findall(r"[+-]?\d+\.\d\d", lines[-2]))
    assert sum(
        float(line.split()[0]) for line in lines[5:-2] if line.startswith("   ")
    ) == pytest.approx(together, abs=0.2)
    assert together + second + rest == pytest.approx(odds, abs=0.03)
    assert float(first[0]) == pytest.approx(1 / (1 + np.exp(-odds)), abs=2e-4)


def test_explain_of_a_text_without_a_known_word_says_what_is_left(odd):
    folder, _ = odd
    (product,) = rows_of(folder, "select id from product where external_id = 'odd-3'")[0]
    done = explained(folder, product)
    assert done.returncode == 0 and "together +0.00" in done.stdout
    assert "the model knows none of its words" in done.stdout


def test_explain_of_a_product_without_a_category_says_so_and_what_the_model_would_say(
    odd, tmp_path
):
    shutil.copytree(odd[0], tmp_path / "own")
    write_feed(
        tmp_path / "own/new.tsv", [("new", "flared denim jean", "style")], "id title description"
    )
    run_script("crawl", "--feed", "new.tsv", cwd=tmp_path / "own")
    (product,) = rows_of(tmp_path / "own", "select id from product where external_id = 'new'")[0]
    done = explained(tmp_path / "own", product)
    lines = done.stdout.splitlines()
    score = lines[2].split()[0]
    assert lines[1] == (
        "  it has no category in the shop's catalogue; the model would file it "
        f"under jeans.flared (probability {score})"
    )
    assert lines[2] == f"  {score}  jeans.flared" and "None" not in done.stdout
    assert "predicted_category" not in done.stdout  # nothing was predicted of it in training


@pytest.mark.parametrize(
    "product, experiment, sentence",
    [
        (10**6, 1, "there is no product 1000000"),
        (1, 9, "there is no experiment 9"),
        (10**30, 1, "there is no product"),
        ("007", 1, "no id of the shop"),
        ("٧", 1, "must be a number"),
    ],
)
def test_explain_of_what_is_not_there_is_one_sentence(odd, product, experiment, sentence):
    done = run_script(
        "categorize_words", "--explain", product, "--experiment", experiment, cwd=odd[0]
    )
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr


@pytest.mark.parametrize("spoil", ["gone", "weights", "truncated", "json", "keys"])
def test_explain_without_a_usable_model_is_one_sentence(odd, tmp_path, spoil):
    shutil.copytree(odd[0], tmp_path / "own")
    folder = tmp_path / "own" / "models" / "experiment-1"
    if spoil == "gone":
        shutil.rmtree(folder)
    elif spoil in ("weights", "truncated"):
        whole = (folder / "weights.npz").read_bytes()
        (folder / "weights.npz").write_bytes(b"PK" if spoil == "weights" else whole[:5000])
    else:
        (folder / "model.json").write_text("{" if spoil == "json" else json.dumps({"a": 1}))
    done = run_script("categorize_words", "--explain", 1, "--experiment", 1, cwd=tmp_path / "own")
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert "train again" in done.stderr and str(folder) in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ["--explain", "1"],
        ["--experiment", "1"],
        ["--embedding-alone"],
        ["--save-embedding", "x"],
        ["--embedding", "word2vec", "--network", "original"],
        ["--fields", "colour"],
        ["--fields", ""],
        ["--epochs", "-1"],
        ["--epochs", "0"],
        ["--epochs", "1" + "0" * 21],
        ["--embedding", "swivel", "--save-embedding", "no/x"],
        ["--network", "other"],
    ],
)
def test_flags_that_make_no_sense_are_refused(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        categorize_words.parse(flags)


@pytest.mark.parametrize(
    "flags, has, lacks",
    [
        (["--fields", "name"], "evening clutch bag", "style"),
        (["--fields", "description"], "style", "xx"),
    ],
)
def test_fields_choose_what_is_read(odd, tmp_path, flags, has, lacks):
    shutil.copytree(odd[0], tmp_path / "own")
    flags = ["--split-by", "group", *flags]
    done = run_script("categorize_words", "--min-products", "1", *flags, cwd=tmp_path / "own")
    assert done.returncode == 0, done.stderr
    described = saved_models.load_model(tmp_path / "own" / "models" / "experiment-2")[1]
    assert set(has.split()) <= set(described["vocabulary"])
    assert lacks not in described["vocabulary"] and described["fields"] == flags[3:]


def test_the_original_network_is_that_of_2016(odd, tmp_path):
    shutil.copytree(odd[0], tmp_path / "own")
    flags = ("--min-products", "1", "--split-by", "group", "--network", "original")
    done = run_script("categorize_words", *flags, cwd=tmp_path / "own")
    assert done.returncode == 0 and "epoch 5 of 5" in done.stderr
    weights, described = saved_models.load_model(tmp_path / "own" / "models" / "experiment-2")
    assert "idf" not in weights and described["network"] == "original"
    assert not [term for term in described["vocabulary"] if " " in term or ":" in term]
    done = run_script("categorize_words", "--explain", 4, "--experiment", 2, cwd=tmp_path / "own")
    assert done.returncode == 0 and "jean" in done.stdout


def test_with_vectors_the_texts_are_those_that_were_read_at_first(tmp_path):
    """Or a product that comes while a model is trained would move the rows of all behind it."""
    rows = [
        (str(i), f"{word} piece {i}", "", f"A > {'BC'[i % 2]}", "", "")
        for i, word in enumerate("abcdefghijklmnop")
    ]
    write_feed(tmp_path / "products.tsv", rows)
    run_script("crawl", "--feed", "products.tsv", cwd=tmp_path)
    conn = db.open_database(str(tmp_path / "crawl.db"))
    products = selection.choose_products(conn, selection.Wanted([], 1, 3, by_cluster=False))
    options = text_classifier.TextOptions(embedding="word2vec")
    terms = text_classifier.read_terms(conn, products, options)
    before = list(terms.words())
    with db.transaction(conn):
        conn.execute("""insert into product(id, category_id, name, source, external_id, group_key)
                        select -1, category_id, 'late', source, 'late', 'late' from product
                        limit 1""")
    conn.close()
    assert list(terms.words()) == before and len(before) == 16
