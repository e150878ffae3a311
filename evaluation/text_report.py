"""What analyze.py shows: its results as lines of text.

In: the dicts of figures.py and analyze.py. Out: lines. No figure is computed here.

    python analyze.py --experiment 1
    python analyze.py --compare 1 2
"""
import math

from common.text import printable
from evaluation import today
from learning import metrics, near_duplicates

# ---- text -------------------------------------------------------------------------------------

def percent(share):
    return "-" if share is None else f"{100 * share:.2f}%"


def with_interval(share):
    """A share of analyze.share: 98.44% [98.12, 98.71]."""
    if share["share"] is None:
        return "-"
    low, high = share["interval"]
    return f"{percent(share['share'])} [{100 * low:.2f}, {100 * high:.2f}]"


def table(rows, left=(0,)):
    """Rows of cells as lines, columns as wide as they must be, those in `left` flush left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  " + "  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                             for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def blocks_text(blocks, top=None):
    for block in blocks:
        yield f"#{block['experiment']}: {printable(block['name'])}"
        yield from block["lines"]


def experiment_text(found, top):
    """Lines of analyze.describe's result."""
    yield from blocks_text([found])
    low, high = found["interval"]
    yield f"  (accuracy between {100 * low:.2f}% and {100 * high:.2f}% with " \
          f"{100 * found['confidence']:g}% confidence, were all products independent)"
    if found["after_review"]["corrected"]:
        review = found["after_review"]
        yield f"  After review: {with_interval(review['accuracy'])}, with {review['corrected']} " \
              "labels corrected by a person (who saw only what looked wrong, so this flatters)"
    yield from today_text(found)
    yield ""
    yield from promise_text(found)
    yield ""
    yield from fallback_text(found)
    yield ""
    yield from calibration_text(found)
    yield ""
    yield "Accuracy by"
    rows = [(f"{'words: ' if not i else ''}{row['from']}"
             + ("+" if row["to"] is None else f"-{row['to']}" if row["to"] > row["from"] else ""),
             f"{row['accuracy']['n']:,}", with_interval(row["accuracy"]))
            for i, row in enumerate(found["by_words"])]
    rows += [("with a picture" if row["from"] else "without a picture",
              f"{row['accuracy']['n']:,}", with_interval(row["accuracy"]))
             for row in found["by_picture"]]
    yield from table(rows, left=())
    yield ""
    yield from split_text(found["settings"])
    yield ""
    yield from shared_text(found["shared_with_training"])
    yield ""
    yield f"Categories most often confused ({len(found['confusions'])} pairs)"
    yield from table([(f"{pair['errors']:,}", f"{printable(' -> '.join(pair['categories']))} "
                       f"{pair['first_as_second']}, <- {pair['second_as_first']}",
                       "" if not pair["same_parent"] else "same parent")
                      for pair in found["confusions"][:top]], left=(1, 2))
    yield ""
    yield "Categories"
    yield from table([("", "products", "recall", "precision")]
                     + [(printable(row["category"]), f"{row['support']:,}",
                         with_interval(row["recall"]), with_interval(row["precision"]))
                        for row in found["categories"]])
    yield ""
    yield "Settings"
    for key, value in found["settings"].items():
        if key == "categories":
            value = len(value)
        if key not in ("calibration", "near-duplicates"):
            yield printable(f"  {key}: {value}")


def today_text(found):
    """Lines about the catalogue as it is today."""
    now = found["today"]
    for line in today.changes_lines(found["experiment"], now):
        yield f"  {line[0].upper()}{line[1:]}."
    if now["refiled"]:
        yield "  (All that follows is as of the training. --apply counts products by the " \
              "category they have now.)"
    if now["all"] is not None:
        yield ""
        yield from all_text(found)


def all_text(found):
    """Lines that hold the figures of the categories that the model knows beside those of all."""
    whole = found["today"]["all"]
    (leaves, of_leaves), (known, products) = whole["leaves"], whole["products"]
    yield f"The model knows {leaves} of {of_leaves} leaves, with {known:,} of {products:,} " \
          f"labelled products. It is always wrong about the other {products - known:,}"
    rows = [("", "of the categories it knows", "of all that comes"),
            ("Accuracy", percent(found["accuracy"]), percent(whole["accuracy"]))]
    pairs = {own["target"]: own for own in found["fallback"] or ()}
    for own in whole["coverage"] if whole["answered"] else ():
        target = own["target"]
        rows.append((f"{target}% Accuracy Coverage", percent(found[f"coverage_{target}"]),
                     percent(own["observed"])))
        for level in ("leaf", "parent"):
            before = percent(pairs[target][level]["taken"]["share"]) if pairs else "-"
            rows.append((f"{target}% certified, at the {level}", before, percent(own[level])))
    yield from table(rows)
    if whole["answered"]:
        yield "  (--apply promises what stands on the right, by the labels of today)"
    else:
        script = today.SCRIPTS.get(whole["kind"], "words")
        yield "  What can be promised of all that comes is known once the model has answered the " \
              "others too: load products"
        yield f"  without a category, and run categorize_{script}.py --apply " \
              f"{found['experiment']}. What follows is about the categories it knows"
    if whole["min_products"] is not None:
        yield f"  (it was trained with --min-products {whole['min_products']}; a lower one takes " \
              "more leaves in)"


def promise_text(found):
    """Coverage beside what is certified of it."""
    yield f"Certified with {100 * found['confidence']:g}% confidence, {certified_on(found)}"
    rows = [("", "coverage", "certified", "accepted", "right of these", "where")]
    for promise in found["coverage"]:
        rows.append((f"{'Parent ' * (promise['level'] == 'parent')}{promise['target']}% Accuracy",
                     percent(promise["observed"]["share"]), with_interval(promise["coverage"]),
                     f"{promise['coverage']['hits']:,}", with_interval(promise["accuracy"]),
                     threshold("score", promise["threshold"])))
    yield from table(rows)
    if found["certified_on"] == "folds":
        yield "  (\"where\" is for products to come, by all folds; each fold was accepted by a " \
              "threshold of its own)"
        for promise in found["coverage"]:
            without = sum(map(math.isinf, promise["fold_thresholds"]))
            if without and not math.isinf(promise["threshold"]):
                yield f"  {promise['level'].capitalize()} {promise['target']}%: for {without} of " \
                      f"{len(promise['fold_thresholds'])} folds nothing could be promised, so " \
                      "nothing was accepted there"
    missing = [promise for promise in found["coverage"] if math.isinf(promise["threshold"])]
    for promise in missing:
        yield "  " + missing_text(promise)
    if missing:
        yield "  (wrong labels count as errors: analyze.py --label-suspects " \
              f"{found['experiment']} lists those that may be wrong)"
    if found["certified_on"] == "validation" and missing:
        yield "  (an experiment made with --folds 10 is certified on all its products)"


def certified_on(found):
    if found["certified_on"] == "folds":
        return "each fold by the predictions of the others"
    if found["certified_on"] == "validation":
        return f"by {found['certifying_products']:,} validation products kept for it, seen on " \
               "the test products"
    return "but no validation product was kept for it: run its script again, or with --folds 10"


def missing_text(promise):
    """A sentence that says why nothing can be promised, and what it would take."""
    what = f"{promise['level'].capitalize()} {promise['target']}%: nothing can be promised"
    if not promise["have"]:
        return f"{what} without such products, at the least {promise['fewest']:,}, all right"
    if promise["needed"] is None:
        return f"{what}: even a million products like these would not do"
    return f"{what} by {promise['have']:,} independent products: it would take about " \
           f"{promise['needed']:,} like these"


def threshold(column, score):
    return "nowhere" if math.isinf(score) else f"{column} >= {score:.6f}"


def fallback_text(found):
    if found["fallback"] is None:
        yield "Leaf, else parent, else a person: unknown, the predictions hold no parent's score"
        return
    yield "Leaf, else parent, else a person (both promises together " \
          f"{100 * found['confidence']:g}%)"
    rows = [("", "", "products", "share", "right of these", "where")]
    for target in found["fallback"]:
        for name in ("leaf", "parent", "person"):
            own = target[name]
            rows.append((f"{target['target']}%" if name == "leaf" else "", name,
                         f"{own['taken']['hits']:,}", with_interval(own["taken"]),
                         with_interval(own["accuracy"]) if name != "person" else
                         f"({percent(own['accuracy']['share'])} by the leaf's guess)",
                         threshold("score" if name == "leaf" else "parent_score", own["threshold"])
                         if name != "person" else ""))
    yield from table(rows, left=(0, 1))
    for target in found["fallback"]:
        for level, products in (("leaf", ""), ("parent", " of what the leaf leaves")):
            if math.isinf(target[level]["threshold"]) and target["person"]["taken"]["hits"]:
                yield f"  {target['target']}%: at the {level} nothing can be promised{products}; " \
                      f"its script with --apply {found['experiment']} --target " \
                      f"{target['target']} --dry-run says how near it comes"


def calibration_text(found):
    def number(value):
        return "-" if value is None else f"{value:.4f}"
    own = found["calibration"]
    yield "Calibration"
    rows = [("", "NLL", "ECE")] + [
        (f"{name} the temperature", number(own[name]["nll"]), number(own[name]["ece"]))
        for name in ("before", "after")]
    yield from table(rows)
    yield f"  AURC {number(found['aurc'])}"


def split_text(settings):
    """What the split kept on one side. The settings are anybody's to write."""
    yield "Split"
    found = settings.get("near-duplicates")
    if settings.get("split by") == "cluster" and isinstance(found, dict):
        yield "  by clusters of near-duplicates, texts that differ by a word or two"
        try:
            yield from (f"  {line}" for line in near_duplicates.report_lines(found))
        except (KeyError, TypeError, ValueError, AttributeError):
            yield "  (how many there were is not on record)"
    else:
        yield "  by group: near-duplicates, texts that differ by a word or two, may be in both " \
              "training and test"


def shared_text(shared):
    yield "Test products that share with training products"
    if shared is None:
        yield "  unknown: its training products are not on record, or gone"
        return
    for kind, name in (("text", "their words"), ("picture", "their picture file"),
                       ("near-duplicate", "all but a word or two")):
        own = shared[kind]
        if own is None:
            continue
        yield f"  {name}: {own['shared']['hits']:,} ({percent(own['shared']['share'])}), " \
              f"accuracy {with_interval(own['accuracy_of_these'])}; of the others " \
              f"{with_interval(own['accuracy_of_the_others'])}"


def comparison_text(found, top):
    """Lines of analyze.compare's result."""
    sizes = ", ".join(f"#{own['experiment']} has {own['predictions']:,}"
                      for own in found["experiments"])
    yield f"On the {found['n']:,} products that all have ({sizes})"
    if not found["same_categories"]:
        yield "  not the same task: " + ", ".join(
            f"#{own['experiment']} told {own['categories'] or 'unknown'} categories apart"
            for own in found["experiments"])
    for own in found["experiments"]:
        for line in today.changes_lines(own["experiment"], own["today"]):
            yield f"  {line}"
    if found["label_differs"]:
        yield f"  {found['label_differs']:,} more have another label in one than in the other"
    yield from table([("", "accuracy", "95% coverage", "98% coverage", "right alone")] + [
        (f"#{own['experiment']}: {printable(own['name'])}"
         f"({own['date']}{', ' + str(own['folds']) + ' folds' if own['folds'] else ''})",
         with_interval(own["accuracy"]),
         percent(own["coverage_95"]), percent(own["coverage_98"]), f"{own['right_alone']:,}")
        for own in found["experiments"]])
    yield f"  at least one of them is right: {with_interval(found['any_right'])}"
    for pair in found["pairs"]:
        first, second = pair["experiments"]
        yield ""
        yield f"#{first} against #{second}"
        yield f"  both right {pair['both_right']:,}, only #{first} {pair['only_first_right']:,}, " \
              f"only #{second} {pair['only_second_right']:,}, none {pair['none_right']:,}"
        p = metrics.p_value(pair["mcnemar_p"])
        yield f"  accuracy, exact McNemar: p {p}: {verdict(pair['ahead'])}"
        for own in pair["differences"]:
            low, high = own["interval"]
            name = own["of"].replace("coverage_95", "95% coverage").replace(
                "coverage_98", "98% coverage")
            yield f"  {name}, bootstrap by group: #{second} minus #{first} = " \
                  f"{100 * own['second_minus_first']:+.2f} points [{100 * low:+.2f}, " \
                  f"{100 * high:+.2f}]: {verdict(own['ahead'])}"
    yield ""
    yield f"Products that flipped ({min(top, len(found['flips'])):,} of {found['flipped']:,}, by " \
          "score; * is right)"
    rows = [("product", "label", *(f"#{own['experiment']}" for own in found["experiments"]),
             "name")]
    for flip in found["flips"][:top]:
        answers = [f"{'*' * answer['right']}{answer['category'] or '-'} {answer['score']:.3f}"
                   for answer in flip["answers"]]
        rows.append((str(flip["product"]), *map(printable, (flip["label"], *answers)),
                     one_line(flip["name"])))
    yield from table(rows, left=range(len(rows[0])))


def verdict(ahead):
    return "level" if ahead is None else f"#{ahead} is ahead"


def one_line(text, most=60):
    flat = one_line(text or "")
    return flat if len(flat) <= most else flat[:most - 3] + "..."


def models_text(found, top=None):
    """Lines about saved models and what may be filed with them."""
    lines = []
    for model in found:
        lines.append(f"#{model['experiment']}: {printable(model['name'])}")
        if "problem" in model:
            lines.append(f"  {printable(model['problem'])}")
            continue
        rests = f"{model['folds']} folds, then trained on all" if model["folds"] else "no folds"
        lines.append(f"  {model['date']} UTC, {model['categories']} categories, {rests}, "
                     f"{model['bytes'] / 1e6:.1f} MB")
        script = today.SCRIPTS[model["kind"]]
        for target, promise in sorted(model["promises"].items()):
            said = ", ".join(f"{level} from score {promise[level]:.4f} on"
                             if promise[level] is not None else f"no {level}"
                             for level in ("leaf", "parent"))
            lines.append(f"  {target}% with {100 * promise['confidence']:g}% confidence: {said} "
                         f"({promise['products']} products: {printable(promise['rests_on'])})")
        lines += [f"  {line}" for line in today.changes_lines(model["experiment"], model["today"])]
        if not model["promises"]:
            lines.append("  no threshold yet: categorize_"
                         f"{script}.py --apply {model['experiment']} certifies them")
    return lines or ["there is no saved model yet"]


def overrides_text(found, top=None):
    yield f"decisions: {found['read']:,} read, {found['changed']:,} new or changed; in all " \
          + ", ".join(f"{count:,} {name}" for name, count in found["in_all"].items())
    if found["to_be_created"]:
        yield "to be created, as no leaf is called so yet (training leaves these products out " \
              "until then):"
        for category, count in found["to_be_created"].items():
            yield f"  {printable(category)} ({count:,} product{'s' if count != 1 else ''})"
