"""The fusion of what text and picture say, on numbers alone, and mistakes of categorize_both.py.

pytest tests/test_fusion.py
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import categorize_both
from common.terminal import UserError
from learning import discriminant, experiments, fusion, layers, metrics, selection, training


def drawn(weights, n=4000, leaves=5, seed=0):
    """(evidence, labels) of products whose labels follow a conditional logit of these weights."""
    rng = np.random.default_rng(seed)
    text, picture = (metrics.log_softmax(rng.normal(size=(n, leaves)) * 2) for _ in range(2))
    found = fusion.evidence(text, picture)
    chance = np.exp(metrics.log_softmax(found @ weights))
    return found, (chance.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("weights", [(1, 0, 0), (0.7, 0.4, 0.2), (0, 1, 0), (1.5, 0.2, -0.1)])
def test_the_weights_that_made_the_labels_are_found(weights):
    found = fusion.fit_fusion(*drawn(np.array(weights)))
    assert found == pytest.approx(weights, abs=0.12)


@given(st.integers(0, 50), st.integers(2, 6), st.floats(0.1, 300), st.integers(0, 9))
def test_no_step_aside_is_better(n, leaves, sharpness, seed):
    """Whatever the log-probabilities, and with few products or none: the top of a concave
    function, which is found without help of a slope here."""
    rng = np.random.default_rng(seed)
    text, picture = (
        metrics.log_softmax(rng.normal(size=(n, leaves)) * sharpness)
        if n
        else np.zeros((0, leaves))
        for _ in range(2)
    )
    evidence, labels = fusion.evidence(text, picture), rng.integers(0, leaves, n)

    def worth(weights):
        prior = np.array(fusion.PRIOR) @ (weights - np.array([1, 0, 0])) ** 2 / 2
        return metrics.log_softmax(evidence @ weights)[np.arange(n), labels].sum() - prior

    weights = fusion.fit_fusion(evidence, labels)
    best = worth(weights)
    for aside in np.vstack([np.eye(3), -np.eye(3)]) * 1e-3:
        assert worth(weights + aside) <= best + 1e-7 * (1 + abs(best))


def test_without_products_to_fit_on_the_text_counts_alone():
    nothing = fusion.evidence(np.zeros((0, 3)), np.zeros((0, 3)))
    assert fusion.fit_fusion(nothing, np.zeros(0, int)).tolist() == [1, 0, 0]


def test_the_less_sure_the_text_is_the_more_the_picture_counts():
    text = np.log([[0.9, 0.05, 0.05], [1 / 3, 1 / 3, 1 / 3]])
    picture = np.log([[0.1, 0.8, 0.1]] * 2)
    logits = fusion.fuse(text, picture, np.array([True, True]), np.array([1, 0, 0.5]))
    moved = logits - text
    entropy = [-(0.9 * np.log(0.9) + 0.1 * np.log(0.05)), np.log(3)]
    assert moved == pytest.approx(0.5 * np.array(entropy)[:, None] * picture)
    alone = fusion.fuse(text, picture, np.array([True, False]), np.array([0, 1, 0]))
    assert alone[0] == pytest.approx(picture[0]) and alone[1].tolist() == text[1].tolist()


def test_where_the_picture_helps_and_harms():
    products = selection.make_products(
        [(i, "ab"[i % 2], f"g{i}", "ab"[i % 2]) for i in range(6)], ["a", "b"], {}
    )
    labels = products.labels  # 0 1 0 1 0 1
    guesses = np.array([[0, 0, 1, 1, 1, 0], [0, 1, 0, 0, -1, -1], [0, 1, 0, 0, 1, 0]])
    lines = fusion.compared(products, np.arange(6), guesses)
    assert labels.tolist() == [0, 1] * 3 and lines == [
        "On the same 6 products, 4 of them with a picture",
        "  Text: 33.33%",
        "  Picture, where there is one: 75.00%",
        "  Both: 50.00%",
        "  Text or picture right: 66.67%",
        "  Both against text: 2 gained, 1 lost, exact McNemar p = 1",
        "  Both against picture, where there is one: 0 gained, 0 lost, exact McNemar p = 1",
        "  The picture helps most: a +1 -0",
    ]


@pytest.fixture(scope="module")
def catalogue():
    """(products, the rows of a split, a fit) of 300 products in three leaves: their pictures tell
    the leaves apart, but one leaf has none, their words only sometimes."""
    rng = np.random.default_rng(2)
    names = "abc"
    products = selection.make_products(
        [(i, names[i % 3], f"g{i}", names[i % 3]) for i in range(300)], list(names), {}
    )
    bag = sparse.csr_matrix(
        np.eye(4, dtype=np.float32)[np.where(rng.random(300) < 0.6, products.labels, 3)]
    )
    rows = np.where(products.labels == 2, -1, np.arange(300))
    bottlenecks = (np.eye(3)[products.labels] + rng.normal(size=(300, 3)) / 3).astype(np.float32)
    options = training.Options(batch_size=30, max_epochs=30)
    fit = fusion.fusion(
        products,
        experiments.network(products, lambda _: layers.Inputs(bag=bag), options),
        experiments.network(
            products, lambda _: layers.Inputs(bottlenecks=bottlenecks, rows=rows), options
        ),
        rows >= 0,
    )
    return products, selection.checked_splits(products, None)[0], fit


def test_of_a_leaf_without_pictures_the_picture_says_nothing(catalogue):
    products, part, fit = catalogue
    model = fit(part.training, part.tuning, "training")
    assert model.weights["unseen"].tolist() == [False, False, True]
    right = model.scores(part.test).argmax(axis=1) == products.labels[part.test]
    text = model.parts[0].scores(part.test).argmax(axis=1) == products.labels[part.test]
    assert right.mean() > text.mean()
    # A picture that is new to such a leaf: a text that is sure of it is not overruled.
    text, picture = np.log([[0.02, 0.02, 0.96]]), np.log([[0.98, 0.02, 1 / 3]])
    fused = fusion.fuse(text, picture, np.array([True]), model.weights["fusion"])
    assert fused.argmax() == 2


def test_nothing_is_fitted_on_what_is_predicted(catalogue):
    """Other labels of test and certifying products change no weight."""
    products, part, fit = catalogue
    model = fit(part.training, part.tuning, "training")
    hidden = np.append(part.test, part.certifying)
    before = products.taught[hidden].copy()
    try:
        products.taught[hidden] = products.labels[hidden] = (before + 1) % 3
        again = fit(part.training, part.tuning, "training")
    finally:
        products.taught[hidden] = products.labels[hidden] = before
    for name, value in model.weights.items():
        np.testing.assert_array_equal(value, again.weights[name])
    assert [one.temperature for one in model.parts] == [one.temperature for one in again.parts]


def test_refitted_after_folds_it_is_the_mean_of_the_folds(catalogue):
    products, _, fit = catalogue
    parts = selection.checked_splits(products, 3)
    outcome = experiments.experiment(products, parts, fit)
    folds, last = outcome.models, outcome.model
    assert last.weights["fusion"] == pytest.approx(
        np.mean([one.weights["fusion"] for one in folds], axis=0)
    )
    for turn in range(2):
        mean = np.exp(np.mean([np.log(one.parts[turn].temperature) for one in folds]))
        assert last.parts[turn].temperature == pytest.approx(mean)
    kept = fusion.fused_settings(outcome)["fusion"]
    assert kept["used temperatures"] == [one.temperature for one in last.parts]
    assert all(len(weights) == 3 for weights in kept["weights"].values())
    assert np.isfinite(last.scores(np.arange(300))).all()


def test_without_validation_products_words_and_encoder_have_the_weights_of_the_prior():
    pair = fusion.ENCODER
    nothing = fusion.evidence(np.zeros((0, 3)), np.zeros((0, 3)))
    found = fusion.fit_fusion(nothing, np.zeros(0, int), pair.prior, pair.centre)
    np.testing.assert_allclose(found, pair.centre)


def test_an_encoder_that_is_sure_and_wrong_does_not_outweigh_all():
    unseen, second = np.zeros(3, bool), np.array([[0.0, -800.0, -800.0]])
    heard = np.exp(fusion.heard(second.copy(), unseen, fusion.ENCODER))[0]
    assert heard.sum() == pytest.approx(1) and heard[1] == pytest.approx(0.02 / 3)
    np.testing.assert_array_equal(fusion.heard(second.copy(), unseen, fusion.PICTURE), second)
    weights = {"fusion": np.array([0.7, 0.4, 0.1]), "unseen": unseen}
    first = np.array([[1.0, 3.0, 0.0]])
    said = fusion.saved_logits(weights, [1, 1], first, second, np.array([True]), fusion.ENCODER)
    assert np.ptp(said) < 8


def test_words_and_encoder_are_fused_and_said_so(catalogue):
    """The same vectors as an encoder's; a model that fuses has them under names of their own."""
    products, part, _ = catalogue
    rng = np.random.default_rng(7)
    bag = sparse.csr_matrix(np.eye(3, dtype=np.float32)[rng.integers(0, 3, 300)])
    vectors = (np.eye(3)[products.labels] + rng.normal(size=(300, 3)) / 3).astype(np.float32)
    rows = np.where(np.arange(300) % 10 == 0, -1, np.arange(300))
    encoded = layers.Inputs(bottlenecks=vectors, rows=rows)
    words = experiments.network(
        products, lambda _: layers.Inputs(bag=bag), training.Options(batch_size=30, max_epochs=5)
    )
    fit = fusion.fusion(
        products, words, discriminant.discriminant(products, encoded), rows >= 0, fusion.ENCODER
    )
    outcome = experiments.experiment(products, [part], fit)
    assert {name.partition("_")[0] for name in outcome.model.weights} == {
        "words", "encoder", "fusion", "unseen",
    }  # fmt: skip
    right = outcome.predicted["best"][:, 0] == outcome.predicted["label"]
    assert right.mean() > 0.8
    kept = fusion.fused_settings(outcome, fusion.ENCODER)
    assert list(kept) == ["encoder fusion"]
    assert list(kept["encoder fusion"]["weights"])[2] == "encoder per nat of the words' entropy"
    without = part.test[rows[part.test] < 0]
    np.testing.assert_allclose(
        outcome.model.scores(without),
        fusion.log_probabilities(outcome.model.parts[0], without),
        atol=1e-5,
    )
    guesses = fusion.predicted_leaves(
        outcome.model, part.test, outcome.predicted["best"][:, 0], rows >= 0
    )
    lines = fusion.compared(products, part.test, guesses, pair=fusion.ENCODER)
    assert lines[0] == f"On the same {len(part.test)} products"
    assert [line.split(":")[0].strip() for line in lines[1:7]] == [
        "Words", "Encoder", "Both", "Words or encoder right", "Both against words",
        "Both against encoder",
    ]  # fmt: skip
    nowhere = fusion.fusion(
        products, words, discriminant.discriminant(products, encoded), rows < -1, fusion.ENCODER
    )
    with pytest.raises(UserError, match="leave --encoder out"):
        nowhere(part.training, part.tuning, "training")


@pytest.mark.parametrize("missing", ["training", "tuning"])
def test_no_picture_to_train_or_validate_on_is_one_sentence(catalogue, missing):
    _, part, fit = catalogue
    rows = {side: getattr(part, side) for side in ("training", "tuning")}
    rows[missing] = rows[missing][rows[missing] % 3 == 2]  # the leaf without pictures
    with pytest.raises(UserError, match="^there are no pictures that can be read.*words.py$"):
        fit(rows["training"], rows["tuning"], "training")


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--fusion", "both"], "invalid choice: 'both'"),
        (["--fusion", "concat", "--embedding", "swivel"], "are for --fusion decision"),
        (["--fusion", "concat", "--epochs", "3"], "are for --fusion decision"),
        (["--fields", "picture"], "must be name, description or name,description"),
        (["--embedding", "swivel", "--network", "original"], "is for the default network"),
    ],
)
def test_flags_that_cant_be_are_one_sentence(capsys, flags, sentence):
    with pytest.raises(SystemExit, match="2"):
        categorize_both.main(flags)
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
