"use strict";
// The list below a field for a category. It finds categories by any of their words, and shows each
// with its path; the last used stand first. It is a combobox as the ARIA Authoring Practices
// describe it: the focus stays in the field, and aria-activedescendant names the option.
//
// In: categories [[id, path]], lastUsed() -> ids, created() -> paths of new ones, which are their ids
// here, and chosen(field, id, byKey) for what is picked.
function categoryPicker(categories, {lastUsed, created}, chosen) {
  const MOST = 30;   // options at a time; one more word in the field leaves fewer
  const plain = (text) => text.normalize("NFKD").replaceAll(/\p{M}/gu, "").toLowerCase();
  const wordsOf = (text) => plain(text).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const box = document.createElement("ul"), told = document.createElement("div");
  const paths = new Map(categories);
  let field = null, options = [], active = -1, entries = null;
  Object.assign(box, {id: "categories", className: "picker", hidden: true, tabIndex: -1});
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", "Categories");
  Object.assign(told, {className: "unseen"});
  told.setAttribute("role", "status");
  document.querySelector("main").append(box, told);

  function entryOf([id, path]) {
    const cut = path.lastIndexOf(" > ");
    const above = cut < 0 ? "" : path.slice(0, cut + 3), last = path.slice(above.length);
    return {id, above, last, text: ` ${wordsOf(path).join(" ")} `,
      lastText: ` ${wordsOf(last).join(" ")} `, idText: plain(id)};
  }

  function known() {
    entries ??= categories.map(entryOf);   // not before, since the page opens without them
    const isListed = (path) => entries.some(({above, last}) => above + last === path);
    const fresh = created().filter((path) => !isListed(path));   // the shop may have it by now
    return [...entries, ...fresh.map((path) => entryOf([path, path]))];
  }

  // The entries that have each word of the text, or at least hold each; the best first.
  function found(text) {
    const words = wordsOf(text), {label} = field.closest(".product").dataset;   // called wrong
    if (label && named(text)?.id === label) return [];   // and Enter takes no other one instead
    const all = known().filter(({id}) => id !== label);
    const recent = lastUsed().map((id) => all.find((entry) => entry.id === id)).filter(Boolean);
    if (!words.length) return [...new Set([...recent, ...all])];
    const having = (before) => all.filter((entry) => words.every((word) =>
      entry.text.includes(before + word) || entry.idText.includes(plain(text).trim())));
    const whole = ` ${words.join(" ")} `;
    const fit = (entry) => entry.lastText === whole ? 100 :
      words.filter((word) => entry.lastText.includes(" " + word)).length +
      (entry.text.includes(whole.trimEnd()) ? .5 : 0);   // the words as they stand in it
    const fitting = having(" ").length ? having(" ") : having("");
    const rank = new Map(fitting.map((entry) => [entry, fit(entry)]));
    const used = recent.filter((entry) => rank.has(entry));
    return [...new Set([...used, ...fitting.sort((a, b) => rank.get(b) - rank.get(a))])];
  }

  function optionOf(entry, number, recent) {
    const option = document.createElement("li"), above = document.createElement("span");
    Object.assign(option, {id: `category-${number}`, className: recent ? "recent" : ""});
    option.dir = "auto";
    option.dataset.id = entry.id;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    Object.assign(above, {className: "quiet", textContent: entry.above});
    option.append(above, entry.last);
    return option;
  }

  function show() {
    const text = field.value === field.dataset.shown ? "" : field.value;
    const recent = new Set(lastUsed()), all = found(text);
    options = all.slice(0, MOST).map((entry, i) => optionOf(entry, i, recent.has(entry.id)));
    box.replaceChildren(...options);
    const more = all.length - options.length;
    if (more > 0) {
      const line = document.createElement("li");
      line.setAttribute("role", "presentation");
      Object.assign(line, {className: "quiet", textContent: `${more.toLocaleString()} more`});
      box.append(line);
    }
    told.textContent = all.length === 1 ? "1 category" : `${all.length.toLocaleString()} categories`;
    box.hidden = !options.length;
    field.setAttribute("aria-expanded", String(!box.hidden));
    activate(wordsOf(text).length ? 0 : -1);
    place();
  }

  function place() {   // below the field, or above it where there is more room
    if (!field || box.hidden) return;
    const {top, bottom, left, width} = field.getBoundingClientRect();
    box.style.maxHeight = "320px";   // else its height is what room it had before
    const needed = Math.min(180, box.offsetHeight + 12);
    const below = innerHeight - bottom, up = below < needed && top > below;
    box.style.width = `${Math.min(innerWidth - 16, Math.max(width, 320))}px`;
    box.style.left = `${Math.max(8, Math.min(left, innerWidth - box.offsetWidth - 8)) + scrollX}px`;
    box.style.maxHeight = `${Math.min(320, (up ? top : below) - 12)}px`;
    box.style.top = `${(up ? top - box.offsetHeight - 4 : bottom + 4) + scrollY}px`;
  }

  function activate(number) {
    options[active]?.setAttribute("aria-selected", "false");
    active = options[number] ? number : -1;
    options[active]?.setAttribute("aria-selected", "true");
    options[active]?.scrollIntoView({block: "nearest"});
    if (active < 0) field.removeAttribute("aria-activedescendant");
    else field.setAttribute("aria-activedescendant", options[active].id);
  }

  function close() {
    if (!field) return;
    box.hidden = true;
    options = [];
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
    told.textContent = "";
  }

  function pick(option, byKey) {
    const its = field;
    close();
    chosen(its, option.dataset.id, byKey);
  }

  document.addEventListener("focusin", ({target}) => {
    if (!target.matches?.("input.where")) return;
    field = target;
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"],
      ["aria-controls", box.id], ["aria-expanded", "false"]]) field.setAttribute(name, value);
    field.select();
    show();
  });
  document.addEventListener("focusout", ({target}) => {
    if (target !== field) return;
    close();
    field = null;
  });
  document.addEventListener("input", ({target}) => { if (target === field) show(); });
  document.addEventListener("keydown", (event) => {
    if (event.target !== field || event.isComposing) return;
    const by = {ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8}[event.key];
    if (by) {
      if (box.hidden) show();
      else activate(Math.max(0, Math.min(options.length - 1, active + by)));
    } else if (event.key === "Enter" && !box.hidden && active >= 0) pick(options[active], true);
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();   // the page's own keys are for when no list is open
  }, true);
  box.addEventListener("mousedown", (event) => event.preventDefault());   // the focus stays
  box.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option && field) pick(option, false);
  });
  addEventListener("resize", place);

  // The category that a text names: by its id, its path, or the name that one of them alone has.
  function named(text) {
    const all = known();
    const tidy = (some) => some.trim().toLowerCase().replaceAll(/\s+/g, " ");
    const said = tidy(text);
    const exact = all.find(({id, above, last}) => [id, above + last].map(tidy).includes(said));
    const ends = all.filter(({last}) => tidy(last) === said);
    return exact ?? (ends.length === 1 ? ends[0] : undefined);
  }

  // An id as a decision has it: [category, proposed].
  const decided = (id) => paths.has(id) ? [id, ""] : ["", id];

  return {named, decided, pathOf: (id) => paths.get(id) ?? id, has: (id) => paths.has(id)};
}
