"""A person's decisions about products, out of a CSV file into the table label_override.

In: a file that a page has saved, or that of --label-suspects with its column `decision` filled in.
Out: rows for queries.store_overrides, each about the product that the person has looked at, and the
lines that can't be used, with the reason. A spreadsheet may have been at work in between.

    python analyze.py --overrides decisions.csv
    python analyze.py --overrides suspects.csv --json
"""
import csv
import io
import re

import db
from common.terminal import UserError, log
from common.text import folded, safe_cell
from evaluation import product_view, queries
from learning import category_tree
from learning import queries as learning_queries

NAMED = 5   # lines that can't be used, at most; the others are counted


def take(db_path, path):
    """Store a file of decisions, and name the lines that can't be used. Returns what was done: a
    dict of read, changed, in_all {decision: products}, to_be_created {category: products} and
    unusable [{line, reason}]. Raises UserError if nothing of the file can be used."""
    conn = db.open_database(db_path)
    learning_queries.settle_proposals(conn)
    found, unusable = read_decisions(conn, path)
    if unusable and not found:
        raise UserError(f"no decision of {path} can be used, and none was stored: "
                        + "; ".join(named(unusable)))
    for line in named(unusable):
        log(f"{path}, {line}")
    if unusable:
        log(f"{len(unusable)} lines of {path} can't be used; the other decisions were stored")
    changed = queries.store_overrides(conn, found)
    count = dict.fromkeys(queries.DECISIONS, 0)
    for row in queries.overrides(conn).values():
        count[row["decision"]] = count.get(row["decision"], 0) + 1
    return {"read": len(found), "changed": changed, "in_all": count,
            "to_be_created": learning_queries.missing_categories(conn),
            "unusable": [{"line": line, "reason": reason} for line, reason in unusable]}


def named(unusable):
    """The first lines that can't be used, in words, and how many more there are."""
    lines = [f"line {line}: {reason}" for line, reason in unusable[:NAMED]]
    more = len(unusable) - NAMED
    return lines + [f"and {more} lines more like these"] * (more > 0)


# ---- the file -----------------------------------------------------------------------------------

def read_decisions(conn, path):
    """(decisions, unusable) of a CSV file: rows (product id, decision or None to take one back,
    category or None), and (line, reason) of each line that can't be used, by line. Raises UserError
    if the file is no CSV of decisions at all."""
    known, found = category_tree.leaf_names(conn), {}
    leaves = {row["id"]: bool(row["leaf"]) for row in db.categories(conn)}
    unusable, decided = [], 0
    for line, row in read_rows(path):
        decision = row.get("decision", "").lower()
        if not decision or decision == "decision":   # the header of a second file
            continue
        decided += 1
        try:
            product = find_product(conn, row)
            taken = read_decision(row, decision, product["category_id"], leaves, known)
            found.setdefault(product["id"], {}).setdefault(taken, []).append(line)
        except ValueError as problem:
            unusable.append((line, str(problem)))
    for number, takings in list(found.items()):
        if len(takings) > 1:   # none of them is likelier to be what the person means
            del found[number]
            lines = sorted(line for own in takings.values() for line in own)
            unusable += [(line, f"product {number} is decided on twice, differently (lines "
                                f"{', '.join(map(str, lines[:NAMED]))})") for line in lines]
    if not decided:
        log(f"no line of {path} has a decision: write label wrong, classifier wrong, unclear, or "
            "(if there is no label) filed by hand into that column")
    return [(number, *taken) for number, (taken,) in found.items()], sorted(unusable)


def read_rows(path):
    """[(line, {column: cell})] of a CSV file as spreadsheets write it. Raises UserError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} can't be read as a CSV file in UTF-8 ("
                        f"{getattr(error, 'strerror', None) or 'save it as CSV UTF-8'})") from None
    if text.startswith("sep="):   # a hint for Excel
        text = text.partition("\n")[2]
    head = text.split("\n", 1)[0]
    csv.field_size_limit(2 ** 31 - 1)   # a shop's text may be long
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count),
                            strict=True)
    try:
        rows = [(reader.reader.line_num, {(key or "").strip().lower(): (value or "").strip()
                                          for key, value in row.items() if isinstance(value, str)})
                for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.reader.line_num}, is no CSV ({error}); nothing of "
                        "the file was stored") from None
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if "decision" not in names or not ("product_id" in names or {"source", "external_id"} <= names):
        raise UserError(f"{path} needs the columns product_id and decision, or source, external_id "
                        "and decision, as --label-suspects writes them")
    return rows


# ---- the product --------------------------------------------------------------------------------

def find_product(conn, row):
    """The product, a row of queries.product_by_id, that a line is about: by source and external_id
    if it has them, which stay the same when the catalogue is crawled anew; else by product_id,
    checked by what else the line says of it. Raises ValueError with the reason if it is not there.
    """
    source, external, name = (row.get(key, "") for key in ("source", "external_id", "name"))
    digits = row.get("product_id", "")[:20]
    number = int(digits) if digits.isdecimal() and int(digits) < 2 ** 63 else None
    by_number = None if number is None else queries.product_by_id(conn, number)
    if source and external:
        if by_number and says(source, by_number["source"]) \
                and says(external, by_number["external_id"]):
            return by_number
        return find_by_external_id(conn, source, external, name, by_number)
    if not by_number:
        raise ValueError(f"there is no product {digits!r}" + rounded_hint(digits))
    for what, cell in (("source", source), ("external_id", external)):
        if cell and not says(cell, by_number[what]):
            raise ValueError(f"product {number} has the {what} {by_number[what]!r} here, and not "
                             f"{cell!r}: the ids of a fresh crawl are others, so decide on a page "
                             "made from it")
    if not same_name(name, by_number["name"]):
        raise ValueError(f"product {number} is called {short(by_number['name'])} here, and not "
                         f"{short(name)}: is it another product by now?")
    return by_number


def find_by_external_id(conn, source, external, name, by_number):
    """The product of a shop's own id; by_number is what product_id finds, or None."""
    found = next((row for shop in unquoted(source)
                  for row in queries.products_called(conn, shop, unquoted(external))), None)
    twins = [row for row in queries.products_called(conn, source, zero_twins(external))
             if row["external_id"] != external]
    if found:
        other = by_number and not same_name(name, found["name"]) \
            and same_name(name, by_number["name"])
        if other or twins and not (name and same_name(name, found["name"])):
            what = f"product_id {by_number['id']}" if other else repr(twins[0]["external_id"])
            raise ValueError(f"it may be about the product {external!r} of {source} or about "
                             f"{what}: has a spreadsheet changed its ids? Have it read them as "
                             "text")
        return found
    if by_number and says(source, by_number["source"]) and name \
            and same_name(name, by_number["name"]) and mangled(external, by_number["external_id"]):
        log(f"a spreadsheet has made {external} of the id {by_number['external_id']}: taken for "
            f"product {by_number['id']}, which has the same name")
        return by_number
    hint = rounded_hint(external)
    if twins:
        hint = f", but {twins[0]['external_id']!r}: a spreadsheet has taken the zeros off; have " \
               "it read that column as text"
    raise ValueError(f"there is no product {external[:60]!r} of {source[:60]!r}{hint}")


def unquoted(cell):
    """What a cell may stand for: `safe_cell` puts an apostrophe before what a spreadsheet would
    run, and spreadsheets may show it or not."""
    return [cell, cell[1:]] if re.match("'[=+@-]", cell) else [cell]


def says(cell, value):
    """Whether a cell is a product's value as pages and --label-suspects write it: without what
    steers a terminal, on one line."""
    def plain(text):
        return re.sub(r"[\s\x00-\x1f\x7f-\x9f\ufffd\ufeff]+", "", text or "")
    cells = set(map(plain, unquoted(cell)))
    # As it is, or as older pages show it.
    return bool(cells & {plain(value), plain(product_view.shown(value, 100))})


def same_name(cell, name):
    """Whether a line names the product so, or not at all. Only letters and digits count, and of a
    long name the beginning."""
    def plain(text):
        return re.sub(r"[\W_]+", "", (text or "")[:400]).casefold()[:200]
    return not cell or cell == "(no name)" and not plain(name) or plain(cell) == plain(name)


def zero_twins(external):
    """Ids of digits that are the same number with other zeros before it."""
    if not (external.isascii() and external.isdecimal()):
        return []
    bare = external.lstrip("0") or "0"
    return [bare.zfill(length) for length in range(len(bare), 21)]


def rounded_hint(cell):
    return ": a spreadsheet has rounded the ids; have it read that column as text" \
        if re.fullmatch(r"[0-9]+[.,][0-9]*(E\+?[0-9]+)?", cell, re.I) else ""


def mangled(cell, external):
    """Whether a spreadsheet may have made `cell` of an id: without its leading zeros, or rounded to
    15 digits or fewer."""
    if not re.fullmatch("[0-9]{1,40}", external or ""):
        return False
    if cell.isascii() and cell.isdecimal():
        kept = cell.rstrip("0")
        return int(cell[:40]) == int(external) or \
            len(cell) == len(external) and len(kept) >= 14 and external.startswith(kept[:14])
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return False
    return abs(number - int(external)) <= .01 * int(external)


def short(text):
    text = " ".join((text or "").split())
    return repr(text if len(text) <= 40 else text[:37] + "...")


# ---- the decision -------------------------------------------------------------------------------

def read_decision(row, decision, label, leaves, known):
    """(decision or None, category or None) of a line about a product with this label (or None).
    leaves are {category id: whether it is a leaf}, known is category_tree.leaf_names. Raises
    ValueError with the reason if it can't be taken."""
    if "label" in row and not same_label(row["label"], label):
        raise ValueError(f"the decision is about the label {short(row['label'])}, and the product "
                         f"has {short(label)} by now")
    if decision == "undecided":
        return None, None
    if decision not in queries.DECISIONS:
        raise ValueError(f"the decision {decision!r} is none of "
                         f"{', '.join((*queries.DECISIONS, 'undecided'))}")
    if decision in ("classifier wrong", "unclear"):
        return decision, None
    if decision == "filed by hand" and label is not None:
        raise ValueError(f"'filed by hand' is for products without a label, and this one has "
                         f"{label!r}: write 'label wrong'")
    decision = "label wrong" if label is not None else "filed by hand"   # an older page says so too
    category = read_category(row, decision, leaves, known)
    if category == label:
        raise ValueError(f"'label wrong' with the label that the product has, {category!r}")
    return decision, category


def read_category(row, decision, leaves, known):
    """A leaf's id from the column `suggestion`, else from `proposed` what a leaf is to be called
    that does not exist yet. Raises ValueError."""
    for category in unquoted(row.get("suggestion", "")):
        if leaves.get(category):
            return category
    proposed = unquoted(row.get("proposed", ""))[-1]
    if row.get("suggestion") or not proposed:
        raise ValueError(f"{decision!r} needs a leaf category's id as suggestion, not "
                         f"{row.get('suggestion', '')[:60]!r} (a category that does not exist yet "
                         "belongs into a column `proposed`)")
    parts = [" ".join(part.split()) for part in proposed.split(">")]
    proposed = " > ".join(parts)
    if not all(parts) or len(proposed) > 300 or not proposed.isprintable():
        raise ValueError(f"{proposed[:60]!r} is no name for a new category: write it as "
                         "Parent > Leaf")
    if folded(proposed) in known:
        return known[folded(proposed)]
    if leaves.get(proposed) is False:
        raise ValueError(f"{proposed!r} is no new category, but has others below it: name a leaf")
    return proposed


def same_label(written, label):
    """Whether a cell of the column `label` is the label that the product has, as a page or
    --label-suspects writes it."""
    label = label or ""
    return written in (label, label.strip(), product_view.shown(label, 200),
                       safe_cell(label).strip())
