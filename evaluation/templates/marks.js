// What a person has decided on a page. This browser keeps it until crawl.db has it.
//
// `data.decided` is what the database had when the page was made: {product: [decision, category,
// label, whether it holds]}. `marks` is what a person has decided here since: {product: {decision,
// category or otherwise proposed, before and was (what the page said until then), seen (all that
// was decided on it before, as the page knows), made (by which page), at (when), label, source,
// external, name, saved (what the last file said of it, by which page)}}. A mark counts until a newer
// page shows that the database has it, or has somebody's newer decision. It stays after it was saved,
// since nobody knows whether a file arrives.
function keptMarks(data) {
  const MONTH = 30 * 24 * 3600 * 1000;   // in ms
  const BREAK = 120 * 1000;   // who takes longer over a product has done something else
  const marks = {}, unkept = new Set(), overtaken = new Set(), prefix = `${data.key} `;
  const texts = ["decision", "category", "proposed", "before", "was", "seen", "made", "label",
    "source", "external", "name"];

  function stored(product) {
    const [decision, category, , holds] = data.decided[product] ?? [];
    return holds ? [decision, category] : ["", ""];
  }

  // What is decided on a product now: [decision, category, proposed].
  function state(product) {
    const own = marks[product];
    return own ? [own.decision, own.category, own.proposed] : [...stored(product), ""];
  }

  const stateText = ([decision, category, proposed = ""]) =>
    `${decision || "undecided"} ${category || proposed}`.trim();

  // Whether the database has this decision, on this label.
  function arrived(product, own) {
    const [decision, category, label] = data.decided[product] ?? ["", "", own.label];
    return own.decision === decision && (own.proposed || own.category) === category &&
      own.label === label;
  }

  // Take what this browser keeps of a product. Somebody's newer decision, which the page shows,
  // goes before it.
  function read(product, text) {
    delete marks[product];
    overtaken.delete(product);
    let kept = null;
    try { kept = JSON.parse(text); } catch { /* somebody else's */ }
    if (typeof kept?.decision !== "string") return;
    const own = {};
    for (const name of texts) own[name] = String(kept[name] ?? "");
    if (own.decision === "label wrong") own.decision = data.puts;   // older pages say so always
    own.at = Number(kept.at) || 0;
    own.saved = String(kept.saved ?? "?");   // older pages do not know
    const taken = own.made !== data.made && arrived(product, own);
    const there = stateText(stored(product));
    const current = there === stateText([own.before, own.was]) ||
      own.saved.replace(/^\S+ /, "") === there;   // our own file said that, and this is newer
    if (!taken && current) marks[product] = own;
    else if (Date.now() - own.at > MONTH) {   // not at once: an older page may be open
      try { localStorage.removeItem(prefix + product); } catch { /* it stays, and counts no more */ }
    } else if (!taken) overtaken.add(product);
  }

  function readAll() {
    let all = [];
    try { all = Object.entries(localStorage); } catch { /* private windows */ }
    for (const [key, value] of all) {
      if (key.startsWith(prefix)) read(key.slice(prefix.length), value);
    }
  }

  // Keep a decision in this browser, and with it those that had no room before.
  function keep(product) {
    unkept.add(product);
    for (const own of unkept) {
      try {
        localStorage.setItem(prefix + own, JSON.stringify(marks[own]));
        unkept.delete(own);
      } catch {   // nor may an older decision come back in its place
        try { localStorage.removeItem(prefix + own); } catch { /* nothing is kept at all */ }
      }
    }
  }

  // Decide on a product; `about` is its {label, source, external, name}, `at` a time in ms.
  function set(product, [decision, category, proposed = ""], about, at) {
    const [before, was] = stored(product), old = marks[product], saved = old?.saved ?? "";
    const isAsBefore = stateText([decision, category, proposed]) === stateText([before, was]);
    if (isAsBefore && !saved) return drop(product);   // no file has ever said otherwise
    const seen = new Set((old?.seen || stateText([before, was])).split(" | "));
    seen.add(stateText(state(product)));
    marks[product] = {decision, category, proposed, before, was, seen: [...seen].join(" | "),
      made: data.made, at, saved, ...about};
    overtaken.delete(product);
    keep(product);
  }

  function drop(product) {
    delete marks[product];
    overtaken.delete(product);
    unkept.delete(product);
    try { localStorage.removeItem(prefix + product); } catch { /* nothing is kept at all */ }
  }

  // What a file of this page says. A page made anew without it shows that the file has not arrived.
  const savedText = (product) => `${data.made} ${stateText(state(product))}`;
  const isUnsaved = (product) => marks[product].saved !== savedText(product);

  function noteSaved() {
    for (const product of Object.keys(marks).filter(isUnsaved)) {
      marks[product].saved = savedText(product);
      keep(product);
    }
  }

  // Another tab has decided on a product. Returns the product, or null if nothing changes here.
  function readElsewhere({key, newValue}) {
    const product = key?.startsWith(prefix) ? key.slice(prefix.length) : null;
    if (product === null) return null;
    if (newValue === null && unkept.has(product)) return null;   // no room for what is here
    unkept.delete(product);
    read(product, newValue);
    return product;
  }

  // The categories that were chosen last, the latest first: their ids, or what was typed of new ones.
  function lastUsed(most = 8) {
    const latest = Object.values(marks).sort((a, b) => b.at - a.at);
    const chosen = latest.map((own) => own.category || own.proposed).filter(Boolean);
    return [...new Set(chosen)].slice(0, most);
  }

  // The new categories that were typed.
  const created = () => [...new Set(Object.values(marks).map((own) => own.proposed).filter(Boolean))];

  // The usual time from one decision to the next, in ms; null before there are five of them.
  function pace() {
    const times = [...new Set(Object.values(marks).map((own) => own.at))].sort((a, b) => a - b);
    const gaps = times.slice(1).map((time, i) => time - times[i]).filter((gap) => gap < BREAK);
    const last = gaps.slice(-50).sort((a, b) => a - b);
    return last.length < 4 ? null : last[last.length >> 1];
  }

  // ---- the file
  const unseen = new RegExp(`[${data.unseen}]`, "gu"), formula = new RegExp(data.formula, "gu");

  function cell(text) {   // as common.text.csv_line makes it
    const safe = text.replace(unseen, " ").replace(formula, "$1'");
    return /[",;]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  }

  // The CSV file of all marks. `line` comes last, so that a line that is cut shows it.
  function fileText() {
    const all = Object.entries(marks), more = Object.entries(data.columns ?? {});
    const head = ["product_id", "decision", "suggestion", "proposed", "label", "source",
      "external_id", "name", "instead_of", ...more.map(([name]) => name), "line"];
    const lines = all.map(([product, own], i) => [product, own.decision || "undecided",
      own.category, own.proposed, own.label, own.source, own.external, own.name,
      own.seen || stateText([own.before, own.was]), ...more.map(([, value]) => String(value)),
      `${i + 1} of ${all.length}`]);
    return [head, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
  }

  return {marks, unkept, overtaken, state, set, isUnsaved, noteSaved, readAll, readElsewhere,
    lastUsed, created, pace, fileText};
}
