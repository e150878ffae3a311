"use strict";
(() => {
  const find = (name) => document.getElementById(name);
  const data = JSON.parse(find("data").textContent);
  const list = find("errors");
  const rows = [...list.children].map((row) => ({
    row, label: row.dataset.label, predicted: row.dataset.predicted, parent: row.dataset.parent,
    badges: row.dataset.badges.split("|"), score: Number(row.dataset.score),
    name: row.querySelector("h3").textContent.trim().toLowerCase(), text: null,
    choice: row.querySelector("select")}));
  document.documentElement.classList.add("js");

  // ---- the slider over thresholds: what would be filed, and what errors with it
  const slider = find("threshold");
  const share = (part, whole) => (100 * part / whole).toFixed(1) + " %";
  let limit = 2;

  function slide() {
    const [score, accepted, right] = data.steps[slider.value];
    limit = score;
    const said = `score \u2265 ${Number(score.toFixed(6))}: ${share(accepted, data.n)} of ${data.n.toLocaleString()} ` +
      `products are filed, ${share(right, accepted)} of these rightly, ` +
      `${(accepted - right).toLocaleString()} errors are let through`;
    find("told").textContent = said;
    slider.setAttribute("aria-valuetext", said);
    if (find("through").checked) filter();
  }

  // ---- filters and order
  function filter() {
    const label = find("label").value, predicted = find("predicted").value;
    const parent = find("parent").value, badge = find("badge").value, mark = find("mark").value;
    const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const through = find("through").checked;
    let count = 0;
    for (const one of rows) {
      if (words.length && one.text === null) one.text = one.row.textContent.toLowerCase();
      const fits = (!label || one.label === label) && (!predicted || one.predicted === predicted) &&
        (!parent || one.parent === parent) && (!badge || one.badges.includes(badge)) &&
        (!mark || (one.choice.value || "none") === mark) &&
        (!through || one.score >= limit) && words.every((word) => one.text.includes(word));
      if (one.row.hidden === fits) one.row.hidden = !fits;
      count += fits;
    }
    const here = data.wrong > rows.length ? ` on this page (of ${data.wrong.toLocaleString()} in all)` : "";
    find("count").textContent = count === rows.length ? `all ${count} errors${here}` :
      count ? `${count} of ${rows.length} errors${here}` :
      `none of the ${rows.length} errors${here}: loosen the filters`;
  }

  function order() {
    const by = find("order").value;
    const text = (a, b) => a < b ? -1 : a > b ? 1 : 0;
    rows.sort((a, b) => by === "score" ? b.score - a.score :
      text(a[by], b[by]) || b.score - a.score);
    list.append(...rows.map((one) => one.row));
  }

  // ---- marks, which stay in this browser
  const key = "errors " + data.key;
  let marks = {};
  try { marks = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* private windows */ }

  function showMarks() {
    let count = 0;
    for (const one of rows) count += one.choice.value !== "";
    find("marked").textContent = `${count} marked`;
  }

  function mark(one, value) {
    one.choice.value = value;
    marks[one.row.dataset.product] = value;
    try { localStorage.setItem(key, JSON.stringify(marks)); } catch { /* they last until reload */ }
    showMarks();
  }

  for (const one of rows) {
    const kept = marks[one.row.dataset.product];
    if (typeof kept === "string") one.choice.value = kept;
    if (one.choice.selectedIndex < 0) one.choice.value = "";
  }

  function cell(text) {   // no spreadsheet may take it for a formula
    const safe = /^[=+\-@]/.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  }

  function save() {
    const lines = [["product_id", "decision", "suggestion", "label", "name"]];
    for (const one of rows) {
      // What was decided when the page was made, and is not any more, is taken back.
      const before = [...one.choice.options].some((option) => option.defaultSelected);
      if (one.choice.value || before) {
        lines.push([one.row.dataset.product, one.choice.value || "undecided",
          one.row.dataset.suggestion ?? one.predicted, one.label,
          one.row.querySelector("h3").textContent.trim().replaceAll(/\s+/g, " ")]);
      }
    }
    const blob = new Blob([lines.map((line) => line.map(cell).join(",")).join("\n") + "\n"],
      {type: "text/csv"});
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ---- keyboard
  let current = null;

  function move(by) {
    // From where one was, also when a filter has hidden that.
    let place = rows.indexOf(current) + by;
    while (rows[place] && rows[place].row.hidden) place += by;
    if (rows[place]) current = rows[place];
    if (current && !current.row.hidden) {
      current.row.focus({preventScroll: true});
      // Below the panel, where that stays at the top of the window.
      const panel = document.querySelector(".filters");
      const above = getComputedStyle(panel).position === "sticky" ? panel.offsetHeight : 0;
      scrollTo({top: current.row.getBoundingClientRect().top + scrollY - above - 8});
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const value = {0: "", 1: "label wrong", 2: "classifier wrong", 3: "unclear"}[event.key];
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/") find("search").focus();
    else if (value !== undefined && current && !current.row.hidden) mark(current, value);
    else return;
    event.preventDefault();
  });
  list.addEventListener("focusin", (event) => {
    const row = event.target.closest(".error");
    current = rows.find((one) => one.row === row) || current;
  });
  list.addEventListener("change", (event) => {
    mark(rows.find((one) => one.choice === event.target), event.target.value);
  });
  for (const name of ["label", "predicted", "parent", "badge", "mark", "through"]) {
    find(name).addEventListener("change", filter);
  }
  let waiting = 0;
  find("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  });
  find("order").addEventListener("change", order);
  find("save").addEventListener("click", save);
  find("clear").addEventListener("click", () => {
    for (const name of ["label", "predicted", "parent", "badge", "mark", "search"]) {
      find(name).value = "";
    }
    find("through").checked = false;
    filter();
  });
  slider.max = data.steps.length - 1;
  // It begins where 98 % are right, as far down as that goes.
  slider.value = data.steps.findLastIndex(([, accepted, right]) => right >= .98 * accepted);
  slider.addEventListener("input", slide);
  slide();
  filter();
  showMarks();
})();
