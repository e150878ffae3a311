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

  // ---- verdicts, which stay in this browser: {product: {decision, category, before (what the
  // page came with), saved (what was last written into a file), label, name, external}}. Each is
  // kept by itself, so that none is written over by a page that could not read the others.
  const marks = {}, prefix = `${data.key} `;

  function readMarks() {
    let all = [];
    try { all = Object.entries(localStorage); } catch { /* private windows */ }
    for (const [key, value] of all) {
      if (!key.startsWith(prefix)) continue;
      try { marks[key.slice(prefix.length)] = JSON.parse(value); } catch { /* somebody else's */ }
    }
  }

  function keepMark(product) {
    try { localStorage.setItem(prefix + product, JSON.stringify(marks[product])); } catch {
      find("kept").textContent = "This browser keeps no verdicts: save them before you leave.";
    }
  }

  function before(one) {
    return one.row.dataset.decision;
  }

  function show(one, decision, category) {
    one.decision.value = decision;
    one.where.value = category;
    one.where.parentElement.hidden = data.word === "error" && decision !== "label wrong";
    for (const button of one.buttons) {
      button.setAttribute("aria-pressed", button.value === (decision === "unclear" ? decision :
        decision && category));
    }
  }

  // A mark counts as long as the page says of the product what it said then: somebody else's newer
  // decision goes before. One that was saved counts in that page alone, and is in the next.
  function live(one) {
    const own = marks[one.row.dataset.product];
    return own && typeof own === "object" && own.before === before(one) &&
      own.was === one.row.dataset.category && (!own.written || own.made === data.made);
  }

  function showMark(one) {
    const own = marks[one.row.dataset.product];
    if (live(one)) show(one, String(own.decision ?? ""), String(own.category ?? ""));
    else show(one, before(one), one.row.dataset.category);
  }

  function showMarks() {
    rows.forEach(showMark);
    tellMarks();
  }

  function written(own) {
    return `${own.decision}\n${own.category}`;
  }

  function changed(own) {
    return own && (own.decision !== own.before || own.category !== own.was ||
      (own.saved !== undefined && own.saved !== written(own)));
  }

  function tellMarks() {
    let count = 0, unsaved = 0;
    for (const one of rows) {
      const own = marks[one.row.dataset.product];
      count += one.decision.value !== "";
      unsaved += Boolean(live(one) && changed(own) && !own.written);
    }
    find("marked").textContent = `${count} decided` + (unsaved ? `, ${unsaved} not saved` : "");
  }

  function mark(one, decision, category) {
    const {product, label, external} = one.row.dataset;
    marks[product] = {
      ...(live(one) ? {saved: marks[product].saved} : {}), decision, category,
      made: data.made, before: before(one), was: one.row.dataset.category, label: label ?? "", external,
      name: one.row.querySelector("h3").textContent.trim().replaceAll(/\s+/g, " ")};
    keepMark(product);
    show(one, decision, category);
    tell(one, "");
    tellMarks();
  }

  function cell(text) {   // no spreadsheet may take it for a formula
    const safe = /^[=+\-@]/.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  }

  function save() {
    readMarks();
    const lines = [["product_id", "decision", "suggestion", "label", "external_id", "name"]];
    takeAll();
    for (const one of rows) {
      const product = one.row.dataset.product, own = marks[product];
      if (!live(one) || !changed(own)) continue;   // what the page came with is nobody's here
      lines.push([product, own.decision || "undecided",
        own.decision === "label wrong" ? own.category : "", own.label, own.external, own.name]);
      own.saved = written(own);
      own.written = true;
      keepMark(product);
    }
    tellMarks();
    const blob = new Blob([lines.map((line) => line.map((one) => cell(String(one))).join(",")).join("\n") + "\n"],
      {type: "text/csv"});
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // Say something of one product, beside its field, until it is decided.
  function tell(one, said) {
    const field = one.where.parentElement;
    if (!field.nextElementSibling?.matches("output")) field.after(document.createElement("output"));
    field.nextElementSibling.textContent = said;
  }

  // A category that was typed: one of the list, or nothing.
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
      const text = one.where.value.slice(0, 60);
      showMark(one);
      tell(one, `\u201c${text}\u201d ${fault}: nothing is changed`);
    } else mark(one, said ? "label wrong" : "", known ? known.value : "");
  }

  function choose(one, value) {
    if (one.buttons.length && value !== "unclear") mark(one, value && "label wrong", value);
    else mark(one, value, value === "label wrong" ? one.row.dataset.suggestion : "");
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
    const button = event.target.closest("button.choice");
    if (!button) return;
    const one = rows.find((own) => own.row.contains(button));
    choose(one, button.getAttribute("aria-pressed") === "true" ? "" : button.value);
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
  addEventListener("storage", (event) => {
    if (event.key?.startsWith(prefix)) {
      readMarks();
      showMarks();
    }
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
  showMarks();
  filter();
  clearHead();
  performance.mark("ready");   // for benchmarks/error_page.py
})();
