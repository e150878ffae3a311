// Filters, search and order of a page's products. Each row says in `fits` whether it is left.
//
// `rows` and `groups` are those of page.js, `showGroup` shows a group anew, `takeAll` has all rows
// of a long page made.
function productFilters(data, rows, groups, list, showGroup, takeAll) {
  const find = (name) => document.getElementById(name);
  const slider = thresholdSlider(data, () => filter());
  const names = ["label", "predicted", "parent", "badge", "mark"].filter(find);
  let wanted = [], words = [], through = false, found = 0;

  function filter() {
    wanted = names.map((name) => [name, find(name).value]).filter(([, value]) => value);
    words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    through = slider !== null && find("through").checked;
    found = 0;
    hideOthers(rows);
    tellCount();
  }

  function hideOthers(some) {
    const touched = new Set();
    for (const one of some) {
      if (words.length && one.text === null) {
        one.text = [...one.row.querySelectorAll("h3, p, dd, .badge, .choice"), {textContent:
          `${one.label ?? ""} ${one.predicted}`}].map((own) => own.textContent).join(" ").toLowerCase();
      }
      one.fits = wanted.every(([name, value]) =>
        name === "badge" ? one.badges.includes(value) :
          name === "mark" ? (one.decision.value || "none") === value : one[name] === value) &&
        (!through || one.score >= slider.limit()) && words.every((word) => one.text.includes(word));
      found += one.fits;
      if (one.group) touched.add(one.group);
      else if (one.row.hidden === one.fits) one.row.hidden = !one.fits;
    }
    touched.forEach(showGroup);
  }

  function tellCount() {
    const free = !wanted.length && !words.length && !through;
    const count = free ? data.rows : found;   // of a long page the rest comes a little later
    const here = data.all > data.rows ? ` on this page (of ${data.all.toLocaleString()} in all)` : "";
    find("count").textContent = count === data.rows ? `all ${many(count, data.word)}${here}` :
      count ? `${count} of ${many(data.rows, data.word)}${here}` :
      `none of the ${many(data.rows, data.word)}${here}: loosen the filters`;
    find("clear").hidden = free;
  }

  function order() {
    takeAll();
    const by = find("order").value;
    const text = (a, b) => a < b ? -1 : a > b ? 1 : 0;
    rows.sort((a, b) => by === "score" ? b.score - a.score : by === "unsure" ? a.score - b.score :
      text(a[by], b[by]) || b.score - a.score);
    const place = new Map(rows.map((one, i) => [one, i]));
    for (const group of groups.values()) group.rows.sort((a, b) => place.get(a) - place.get(b));
    const together = new Set(rows.flatMap((one) => one.group ? one.group.rows : [one]));
    rows.splice(0, rows.length, ...together);   // each group stands where its first product does
    groups.forEach(showGroup);
    list.append(...rows.map((one) => one.row));
  }

  let waiting = 0;
  function filterSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  }

  function filterNow() {
    clearTimeout(waiting);
    filter();
  }

  for (const name of names) find(name).addEventListener("change", filter);
  find("search").addEventListener("input", filterSoon);
  find("order").addEventListener("change", order);
  find("clear").addEventListener("click", () => {
    for (const name of [...names, "search"]) find(name).value = "";
    if (slider) find("through").checked = false;
    filter();
  });
  return {filterNow, hideOthers, tellCount, order};
}
