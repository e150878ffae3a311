"use strict";
(() => {
  const find = (name) => document.getElementById(name);
  const data = JSON.parse(find("data").textContent);
  const list = find("products");
  const rows = [];
  document.documentElement.classList.add("js");

  function take(row) {
    rows.push({
      row, label: row.dataset.label, predicted: row.dataset.predicted, parent: row.dataset.parent,
      badges: row.dataset.badges.split("|"), score: Number(row.dataset.score),
      name: row.querySelector("h3").textContent.trim().toLowerCase(), text: null,
      decision: row.querySelector(".decision"), where: row.querySelector(".where"),
      buttons: [...row.querySelectorAll("button.choice")]});
  }

  // ---- what a long page has as text at first
  let later = [];

  function takeMore() {
    const before = rows.length, piece = document.createElement("template");
    piece.innerHTML = later.shift();
    const fresh = [...piece.content.children];
    list.append(piece.content);
    fresh.forEach(take);
    rows.slice(before).forEach(showMark);
    hideOthers(rows.slice(before));
    tellCount();
    tellMarks();
  }

  function takeAll() {
    while (later.length) takeMore();
  }

  function takeWhenIdle() {
    if (!later.length) return;
    takeMore();
    (window.requestIdleCallback || setTimeout)(takeWhenIdle);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const rest = find("rest");
    if (!rest) return;
    later = rest.textContent.split("<!--more-->");
    rest.remove();
    if (find("order").selectedIndex) order();
    takeWhenIdle();
  });

  // ---- the slider over thresholds: what would be filed, and what errors with it
  const slider = find("threshold");
  const share = (part, whole) => (100 * part / whole).toFixed(1) + " %";
  const many = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
  let limit = 2;

  function slide() {
    const [score, accepted, right] = data.steps[slider.value];
    limit = score;
    // Rounded down, so that what is shown lets through what is counted.
    const said = `score \u2265 ${Math.floor(score * 1e9) / 1e9}: ${accepted.toLocaleString()} of ` +
      `${many(data.n, "product")} (${share(accepted, data.n)}) filed, ${share(right, accepted)} of ` +
      `these rightly, ${many(accepted - right, "error")} let through`;
    find("told").textContent = said;
    slider.setAttribute("aria-valuetext", said);
    if (find("through").checked) filter();
  }

  // ---- filters and order
  const filters = ["label", "predicted", "parent", "badge", "mark"].filter(find);

  let wanted = [], words = [], through = false, found = 0;

  function filter() {
    wanted = filters.map((name) => [name, find(name).value]).filter(([, value]) => value);
    words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    through = slider && find("through").checked;
    found = 0;
    hideOthers(rows);
    tellCount();
  }

  function hideOthers(some) {
    for (const one of some) {
      if (words.length && one.text === null) {
        one.text = [...one.row.querySelectorAll("h3, p, dd, .badge, .choice"), {textContent:
          `${one.label ?? ""} ${one.predicted}`}].map((own) => own.textContent).join(" ").toLowerCase();
      }
      const fits = wanted.every(([name, value]) =>
        name === "badge" ? one.badges.includes(value) :
          name === "mark" ? (one.decision.value || "none") === value : one[name] === value) &&
        (!through || one.score >= limit) && words.every((word) => one.text.includes(word));
      if (one.row.hidden === fits) one.row.hidden = !fits;
      found += fits;
    }
  }

  function tellCount() {
    const free = !wanted.length && !words.length && !through;
    const count = free ? data.rows : found;   // of a long page the rest comes a little later
    const here = data.all > data.rows ? ` on this page (of ${data.all.toLocaleString()} in all)` : "";
    find("count").textContent = count === data.rows ? `all ${many(count, data.word)}${here}` :
      count ? `${count} of ${many(data.rows, data.word)}${here}` :
      `none of the ${many(data.rows, data.word)}${here}: loosen the filters`;
  }

  function order() {
    takeAll();
    const by = find("order").value;
    const text = (a, b) => a < b ? -1 : a > b ? 1 : 0;
    rows.sort((a, b) => by === "score" ? b.score - a.score : by === "unsure" ? a.score - b.score :
      text(a[by], b[by]) || b.score - a.score);
    list.append(...rows.map((one) => one.row));
  }

  // ---- verdicts. `data.decided` is what the database had when the page was made: {product:
  // [decision, category, label, whether it holds]}. `marks` is what a person has decided here
  // since: {product: {decision, category or else proposed, before and was (what the page said
  // until then), made (by which page), at (when), label, source, external, name}}. This browser
  // keeps each by itself; it counts until a newer page shows that the database has it, or has
  // somebody's newer decision. Saving changes nothing: nobody knows whether a file arrives.
  const MONTH = 30 * 24 * 3600 * 1000;   // in ms
  const marks = {}, unkept = new Set(), prefix = `${data.key} `;
  const leafIds = new Set([...find("leaves").options].map((own) => own.value));

  function stored(product) {
    const [decision, category, , holds] = data.decided[product] ?? [];
    return holds ? [decision, category] : ["", ""];
  }

  // Whether the database has this verdict, on this label.
  function arrived(product, own) {
    const [decision, category, label] = data.decided[product] ?? ["", "", own.label];
    return own.decision === decision && (own.proposed || own.category) === category &&
      own.label === label;
  }

  // Take what this browser keeps of a product. Somebody's newer decision, which the page shows,
  // goes before it.
  function readMark(product, text) {
    delete marks[product];
    let kept = null;
    try { kept = JSON.parse(text); } catch { /* somebody else's */ }
    if (typeof kept?.decision !== "string") return;
    const own = {};
    for (const name of ["decision", "category", "proposed", "before", "was", "made", "label",
      "source", "external", "name"]) own[name] = String(kept[name] ?? "");
    if (own.decision === "label wrong") own.decision = data.puts;   // older pages say so always
    own.at = Number(kept.at) || 0;
    const taken = own.made !== data.made && arrived(product, own);
    if (!taken && own.before === stored(product)[0] && own.was === stored(product)[1]) {
      marks[product] = own;
    } else if (taken && Date.now() - own.at > MONTH) {   // not at once: an older page may be open
      try { localStorage.removeItem(prefix + product); } catch { /* it stays, and counts no more */ }
    }
  }

  function readMarks() {
    let all = [];
    try { all = Object.entries(localStorage); } catch { /* private windows */ }
    for (const [key, value] of all) {
      if (key.startsWith(prefix)) readMark(key.slice(prefix.length), value);
    }
  }

  // Keep a verdict in this browser, and with it those that had no room before.
  function keepMark(product) {
    unkept.add(product);
    for (const own of unkept) {
      try {
        localStorage.setItem(prefix + own, JSON.stringify(marks[own]));
        unkept.delete(own);
      } catch {   // nor may an older verdict come back in its place
        try { localStorage.removeItem(prefix + own); } catch { /* nothing is kept at all */ }
      }
    }
    tellKept();
  }

  function tellKept() {
    find("kept").textContent = unkept.size ? `This browser has no room for ${many(unkept.size,
      "decision")}: save before you leave or reload this page, or they are lost.` : "";
  }

  function show(one, decision, category) {
    one.decision.value = decision;
    one.where.value = one.shown = category;
    one.where.parentElement.hidden = data.word === "error" && decision !== data.puts;
    one.buttons.forEach((button) => {
      button.setAttribute("aria-pressed", button.value === (decision === "unclear" ? decision :
        decision && category));
      button.classList.toggle("likely", !decision && "proposed" in button.dataset);
    });
    tell(one, decision === data.puts && category && !leafIds.has(category) ?
      "a new category, to be created" : "");
  }

  function showMark(one) {
    const own = marks[one.row.dataset.product];
    if (own) show(one, own.decision, own.proposed || own.category);
    else show(one, ...stored(one.row.dataset.product));
  }

  // "Changed here" is what a saved file holds.
  function tellMarks() {
    const here = new Set(rows.map((one) => one.row.dataset.product));
    const changed = Object.keys(marks);
    const elsewhere = later.length ? [] : changed.filter((product) => !here.has(product));
    const count = rows.filter((one) => one.decision.value !== "").length;
    find("marked").textContent = `${count} decided` +
      (changed.length ? `, ${changed.length} changed here` : "") +
      (elsewhere.length ? ` (${elsewhere.length} of them not on this page)` : "");
  }

  function mark(one, decision, category, proposed = "") {
    const {product, label = "", source, external} = one.row.dataset;
    const [before, was] = stored(product);
    marks[product] = {decision, category, proposed, before, was, made: data.made, at: Date.now(),
      label, source, external, name: one.row.querySelector("h3").textContent.trim().replaceAll(/\s+/g, " ")};
    keepMark(product);
    showMark(one);
    tellMarks();
  }

  const unseen = new RegExp(`[${data.unseen}]`, "gu");
  const formula = new RegExp(data.formula, "gu");

  function cell(text) {   // as common.text.csv_line makes it
    const safe = text.replace(unseen, " ").replace(formula, "$1'");
    return /[",;]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  }

  function save() {
    const lines = [["product_id", "decision", "suggestion", "proposed", "label", "source",
      "external_id", "name"]];
    for (const [product, own] of Object.entries(marks)) {
      lines.push([product, own.decision || "undecided", own.category, own.proposed, own.label,
        own.source, own.external, own.name]);
    }
    const text = lines.map((line) => line.map(cell).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
    link.download = "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    find("saved").textContent = lines.length > 1 ?
      `decisions.csv holds ${many(lines.length - 1, "decision")}. They stay here too, until ` +
      "analyze.py --overrides has taken them and the page is made again." :
      "There is no decision to save that is new.";
  }

  // Say something of one product, beside its field; `proposed` is a category that may be proposed.
  function tell(one, said, proposed = "") {
    const field = one.where.parentElement;
    while (field.nextElementSibling?.matches("output, .propose")) field.nextElementSibling.remove();
    if (proposed) {
      const button = document.createElement("button");
      Object.assign(button, {type: "button", className: "propose", value: proposed,
        textContent: "propose it as a new category"});
      field.after(button);
    }
    if (said) field.after(Object.assign(document.createElement("output"), {textContent: said}));
  }

  // A category that was typed: one of the list, or nothing; another one may be proposed.
  function typed(one) {
    const plain = (text) => text.trim().toLowerCase().replaceAll(/\s+/g, " ");
    const said = plain(one.where.value);
    const options = [...find("leaves").options].map((option) =>
      ({value: option.value, texts: [option.value, option.textContent].map(plain)}));
    const ends = options.filter(({texts}) => texts[1].endsWith(` > ${said}`));
    const known = options.find(({texts}) => texts.includes(said)) ??
      (ends.length === 1 ? ends[0] : undefined);   // a name is enough where one leaf has it
    const fault = !known && said ? "is no category of the list" :
      known && known.value === one.label ? "is the label it has" : "";
    // The field goes back to what is decided, so that nothing is shown that is not saved. (The
    // browser's own bubble would take the focus, and the click on another button with it.)
    if (fault) {
      const text = one.where.value;
      const parts = text.split(">").map((part) => part.trim().replaceAll(/\s+/g, " "));
      const usable = !known && parts.every(Boolean) && text.length < 300;
      showMark(one);
      tell(one, `\u201c${text.slice(0, 60)}\u201d ${fault}: nothing is changed`,
        usable ? parts.join(" > ") : "");
    } else mark(one, said ? data.puts : "", known ? known.value : "");
  }

  function choose(one, value) {
    if (one.buttons.length && value !== "unclear") mark(one, value && data.puts, value);
    else mark(one, value, value === data.puts ? one.row.dataset.suggestion : "");
  }

  // ---- keyboard
  let current = null;

  function panelHeight() {
    const panel = document.querySelector(".filters");
    return getComputedStyle(panel).position === "sticky" ? panel.offsetHeight : 0;
  }

  function move(by) {
    // From where one was, also when a filter has hidden that.
    let place = rows.indexOf(current) + by;
    if (place >= rows.length) takeAll();
    while (rows[place] && rows[place].row.hidden) place += by;
    if (rows[place]) current = rows[place];
    look();
  }

  function look() {
    if (current && !current.row.hidden) {
      current.row.focus({preventScroll: true});
      // Below the panel, where that stays at the top of the window.
      scrollTo({top: current.row.getBoundingClientRect().top + scrollY - panelHeight() - 8});
    }
  }

  function inSight(one) {
    const {top, bottom} = one.row.getBoundingClientRect();
    return !one.row.hidden && bottom > panelHeight() && top < innerHeight;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {tagName, type} = event.target;
    if (tagName === "SELECT" || tagName === "INPUT" && !["checkbox", "range"].includes(type)) {
      if (event.key === "Escape" || event.key === "Enter" && type === "search") {
        event.preventDefault();   // Escape would empty the search
        event.target.blur();
        if (type === "search") {
          clearTimeout(waiting);
          filter();
          current = null;
          move(1);
        }
      }
      return;
    }
    if (!find("keys").checked) return;
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/") find("search").focus();
    else if (event.key === "Enter" && event.target === current?.row && current.buttons.length) {
      if (!inSight(current)) return look();
      if (!current.decision.value && "proposed" in current.buttons[0].dataset) {
        choose(current, current.buttons[0].value);
      }
      move(1);
    }
    else if (/^[0-4]$/.test(event.key) && current) {
      const offered = current.buttons.map((own) => own.value).filter((own) => own !== "unclear");
      const values = current.buttons.length ? [offered[0], offered[1], offered[2], "unclear"] :
        [...current.decision.options].slice(1).map((own) => own.value);
      const value = event.key === "0" ? "" : values[event.key - 1];
      if (value === undefined) return;
      if (inSight(current)) choose(current, value);
      else look();   // first what it is about
    } else return;
    event.preventDefault();
  });
  list.addEventListener("focusin", (event) => {
    const row = event.target.closest(".product");
    current = rows.find((one) => one.row === row) || current;
  });
  list.addEventListener("change", (event) => {
    const one = rows.find((own) => own.row.contains(event.target));
    if (event.target === one.where) typed(one);
    else choose(one, event.target.value);
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const one = rows.find((own) => own.row.contains(button));
    if (button.matches(".propose")) mark(one, data.puts, "", button.value);
    else choose(one, button.getAttribute("aria-pressed") === "true" ? "" : button.value);
  });
  for (const name of filters) find(name).addEventListener("change", filter);
  let waiting = 0;
  find("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  });
  find("order").addEventListener("change", order);
  find("save").addEventListener("click", save);
  find("clear").addEventListener("click", () => {
    for (const name of [...filters, "search"]) find(name).value = "";
    if (slider) find("through").checked = false;
    filter();
  });
  // Another tab has decided on a product: that one alone changes here, and nothing that is typed.
  addEventListener("storage", ({key, newValue}) => {
    if (!key?.startsWith(prefix)) return;
    const product = key.slice(prefix.length);
    if (newValue === null && unkept.has(product)) return;   // there was no room for what is here
    unkept.delete(product);
    readMark(product, newValue);
    const one = rows.find((own) => own.row.dataset.product === product);
    if (one && one.where.value === one.shown) showMark(one);   // else somebody is typing there
    tellKept();
    tellMarks();
  });
  addEventListener("beforeunload", (event) => {
    if (unkept.size) event.preventDefault();   // the browser asks whether to leave
  });
  const clearHead = () => {   // nothing that has the focus hides behind the panel
    document.documentElement.style.scrollPaddingTop = `${panelHeight() + 8}px`;
  };
  addEventListener("resize", clearHead);
  if (slider) {
    slider.max = data.steps.length - 1;
    // It begins where 98 % are promised, else where 98 % were right, as far down as that goes.
    slider.value = data.start === null ?
      data.steps.findLastIndex(([, accepted, right]) => right >= .98 * accepted) :
      data.steps.findLastIndex(([score]) => score >= data.start);
    slider.addEventListener("input", slide);
    find("through").addEventListener("change", filter);
    slide();
  }
  addEventListener("beforeprint", takeAll);
  [...list.querySelectorAll(".product")].forEach(take);
  readMarks();
  rows.forEach(showMark);
  tellMarks();
  filter();
  clearHead();
  performance.mark("ready");   // for benchmarks/error_page.py
})();
