// A page of products, each with a decision: filters, order, groups, keys, progress.
(() => {
  const find = (name) => document.getElementById(name);
  const data = JSON.parse(find("data").textContent);
  const list = find("products");
  const isOfQuestions = data.word !== "error";
  const rows = [], rowOf = new Map(), groups = new Map();
  const marks = keptMarks(data), steps = keptSteps(data);
  const picker = categoryPicker(data.leaves, marks, (field, id, byKey) => {
    const one = rowOfElement(field);
    decide(one, data.puts, ...picker.decided(id));
    if (!byKey) return;
    one.row.focus({preventScroll: true});
    goOn();
  });
  const {speak, tellKept, tellMarks} = statusBar(data, marks, rows, rowOf);
  const typed = typedCategories(data, picker, decide, speak);
  document.documentElement.classList.add("js");

  // A row is what the script knows of a product; a group has the rows that may be decided at once.
  function take(row) {
    const one = {
      row, product: row.dataset.product, label: row.dataset.label, predicted: row.dataset.predicted,
      parent: row.dataset.parent, badges: row.dataset.badges.split("|"),
      score: Number(row.dataset.score), text: null, fits: true, group: null,
      name: row.querySelector("h3").textContent.trim().toLowerCase(),
      decision: row.querySelector(".decision"), where: row.querySelector(".where"),
      alike: row.querySelector(".alike"), buttons: [...row.querySelectorAll("button.choice")]};
    if (row.dataset.group) {
      const {group, size} = row.dataset;
      if (!groups.has(group)) groups.set(group, {rows: [], size: Number(size), open: false});
      one.group = groups.get(group);
      one.group.rows.push(one);
    }
    rows.push(one);
    rowOf.set(one.product, one);
  }

  const rowOfElement = (element) => rowOf.get(element.closest(".product")?.dataset.product);

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
    if (isOfQuestions) begin();
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

  // ---- groups: closed, one product stands for all, and is decided for all; opened, each for itself
  function showGroup(group) {
    const fitting = group.rows.filter((one) => one.fits);
    const states = new Set(fitting.map((one) => one.decision.value + " " + one.shown));
    for (const one of group.rows) {
      const first = one === fitting[0];
      one.row.hidden = !one.fits || !group.open && !first;
      one.row.classList.toggle("closed", !group.open);
      one.alike.hidden = !first || group.size < 2;
      one.alike.setAttribute("aria-expanded", String(group.open));
      const count = fitting.length < group.rows.length ? fitting.length : group.size;
      one.alike.textContent = group.open ? `close the ${count}` : states.size > 1 ?
        `${count} alike, decided differently: open` : `${count} alike: open`;
    }
  }

  function turn(group) {
    takeAllOf(group);
    group.open = !group.open;
    showGroup(group);
    if (!group.open && now()?.row.hidden) stand(group.rows.find((one) => !one.row.hidden));
    look();
  }

  const {filterNow, hideOthers, tellCount, order} =
    productFilters(data, rows, groups, list, showGroup, takeAll);
  const {now, stand, begin, barHeight, move, comeBack, goOn, goTo, look, inSight} =
    productWalk(rows, takeAll, speak);

  function takeAllOf(group) {
    while (group.rows.length < group.size && later.length) takeMore();
  }

  // The rows that a decision on this one is for.
  function meant(one) {
    if (!one.group || one.group.open) return [one];
    takeAllOf(one.group);
    return one.group.rows.filter((own) => own.fits);   // what a filter hides gets no decision
  }

  // ---- decisions
  function show(one, decision, category) {
    one.decision.value = decision;
    one.shown = category;
    const isOffered = one.buttons.some((own) => !own.dataset.decision && own.value === category);
    one.where.value = one.where.dataset.shown =   // the field repeats no button
      category && !isOffered ? picker.pathOf(category) : "";
    one.where.parentElement.hidden = !isOfQuestions && decision !== data.puts;
    one.row.classList.toggle("decided", decision !== "");
    one.buttons.forEach((button) => {
      const own = button.dataset.decision;
      button.setAttribute("aria-pressed", String(own ? own === decision :
        decision === data.puts && button.value === category));
      button.classList.toggle("likely", !decision && "proposed" in button.dataset);
    });
    typed.tell(one, decision === data.puts && category && !isOffered && !picker.has(category) ?
      "A new category, to be created." : "");
  }

  function showMark(one) {
    const [decision, category, proposed] = marks.state(one.product);
    show(one, decision, proposed || category);
  }

  function factsOf(one) {
    const {label = "", source, external} = one.row.dataset;
    const name = one.row.querySelector("h3").textContent.trim().replaceAll(/\s+/g, " ");
    return {label, source, external, name};
  }

  function decide(one, decision, category, proposed = "") {
    const some = meant(one);
    steps.push(some.map(({product}) => [product, marks.state(product)]));
    put(some.map((own) => [own, [decision, category, proposed]]));
    speak(inWords(decision, category, proposed) +
      (some.length > 1 ? `, ${some.length} products` : ""));
  }

  const inWords = (decision, category, proposed) =>
    (decision === "unsure" ? "not sure" : decision || "no decision") +
    (category || proposed ? `: ${proposed || picker.pathOf(category)}` : "");

  function put(some) {
    const at = Date.now();   // what is decided at once counts as one decision for the pace
    for (const [one, state] of some) {
      marks.set(one.product, state, factsOf(one), at);
      showMark(one);
    }
    new Set(some.map(([one]) => one.group).filter(Boolean)).forEach(showGroup);
    tellSteps();
    tellKept();
    tellMarks();
  }

  const tellSteps = () => { find("undo").disabled = !steps.count(); };

  function takeBack() {
    if (!steps.count()) return speak("there is nothing to take back");
    takeAll();   // after a reload what was decided last may not be an element yet
    const last = steps.pop(), step = last.map(([product, state]) => [rowOf.get(product), state]);
    const [[one]] = step;
    if (!one) {   // not even as text
      steps.push(last);
      return speak("the page is still loading: take back once more");
    }
    put(step);
    if (one.group && one.row.hidden && one.fits) turn(one.group);
    goTo(one);
    speak(`taken back: ${factsOf(one).name}${one.decision.value ?
      `, again ${inWords(...marks.state(one.product))}` : ""}`);
  }

  function choose(one, button) {
    const {decision} = button.dataset, pressed = button.getAttribute("aria-pressed") === "true";
    if (pressed) decide(one, "", "");
    else decide(one, decision ?? data.puts, decision ? "" : button.value);
    if ("asks" in button.dataset && !pressed) one.where.focus();
  }

  // A select of decisions, as the page of errors has.
  const chooseDecision = (one, value) =>
    decide(one, value, value === data.puts ? one.row.dataset.suggestion : "");

  // ---- keyboard
  function openMore(one) {
    const isOpen = one.row.classList.toggle("open");
    one.row.querySelector(".opens")?.setAttribute("aria-expanded", String(isOpen));
    list.classList.toggle("opened", list.querySelector(".open") !== null);   // :has() sorts slowly
  }

  function create(one, category, byKey) {   // a category that was typed
    decide(one, data.puts, "", category);
    one.row.focus({preventScroll: true});
    if (byKey) goOn();
  }

  // Enter in a field for a category, unless it picks one from the list.
  function enterField(one) {
    if (typed.proposal(one)) return create(one, typed.proposal(one), true);
    if (!typed.take(one)) return;   // the focus stays, for other words or a second Enter
    one.row.focus({preventScroll: true});
    if (one.decision.value) goOn();
  }

  // Keys in a field: Enter takes what is typed, Escape gives it up, and both leave the field.
  function keyInField(event) {
    const {target, key} = event;
    if (key !== "Escape" && !(key === "Enter" && target.matches("[type=search], .where"))) return;
    event.preventDefault();   // Escape would empty the search
    const one = rowOfElement(target);
    if (one && key === "Enter") return enterField(one);
    if (one) showMark(one);
    target.blur();
    if (target.type === "search") {
      filterNow();
      stand(null);
      move(1);
    } else if (one) one.row.focus({preventScroll: true});
  }

  function press(key) {
    const one = now();
    if (!one || !/^[?a-z0-9]$/.test(key)) return false;
    const button = one.buttons.find((own) => own.dataset.key === key);
    const option = one.decision.options?.[key];   // of a select; key 0 is none
    if (!button && !option && key !== "0") return false;
    if (!inSight(one)) comeBack();   // first what it is about
    else if (key === "0") decide(one, "", "");
    else if (option) chooseDecision(one, option.value);
    else chooseByKey(one, button);
    return true;
  }

  function chooseByKey(one, button) {
    if (button.getAttribute("aria-pressed") !== "true") choose(one, button);
    if ("asks" in button.dataset) one.where.focus();   // once more, too: for another category
    else goOn();
  }

  function accept(one) {   // Enter
    const [first] = one.buttons;
    if (!inSight(one)) return comeBack();
    if (!one.decision.value && "proposed" in first.dataset) choose(one, first);
    goOn();
  }

  const KEYS = {
    j: () => move(1), k: () => move(-1), n: goOn, u: takeBack,
    "/": () => {
      if (!find("search").checkVisibility()) find("tools").open = true;   // on a narrow window
      find("search").focus();
    },
    c: () => now() && !now().where.parentElement.hidden && now().where.focus(),
    d: () => now() && openMore(now()),
    o: () => now()?.group && turn(now().group),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {tagName, type} = event.target;
    if (tagName === "SELECT" || tagName === "INPUT" && !["checkbox", "range"].includes(type)) {
      return keyInField(event);
    }
    if (!find("keys").checked) return;
    if (event.key === "Enter") {
      if (!now()?.buttons.length || ![now().row, document.body].includes(event.target)) return;
      accept(now());
    } else if (!press(event.key)) {
      if (!Object.hasOwn(KEYS, event.key)) return;
      KEYS[event.key]();
    }
    event.preventDefault();
  });

  // ---- mouse, and fields
  list.addEventListener("focusin", (event) => {
    stand(rowOfElement(event.target) ?? now());
  });
  list.addEventListener("change", (event) => {
    const one = rowOfElement(event.target);
    if (event.target === one.where) typed.take(one);
    else chooseDecision(one, event.target.value);
  });
  list.addEventListener("input", ({target}) => {   // what was said of other words is over
    if (target.matches(".where")) typed.tell(rowOfElement(target), "");
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const one = rowOfElement(button);
    if (button.matches(".propose")) create(one, button.value, !event.detail);
    else if (button.matches(".alike")) turn(one.group);
    else if (button.matches(".opens")) openMore(one);
    else if (!event.detail) chooseByKey(one, button);
    else {   // by mouse: Enter then goes on
      one.row.focus({preventScroll: true});
      choose(one, button);
    }
  });
  find("undo").addEventListener("click", takeBack);
  // Another tab has decided on a product: that one alone changes here, and nothing that is typed.
  addEventListener("storage", (event) => {
    const product = marks.readElsewhere(event);
    if (product === null) return;
    const one = rowOf.get(product);
    if (one && one.where.value === one.where.dataset.shown) {   // or somebody is typing there
      showMark(one);
      if (one.group) showGroup(one.group);
    }
    tellKept();
    tellMarks();
  });
  addEventListener("beforeunload", (event) => {
    if (marks.unkept.size) event.preventDefault();   // the browser asks whether to leave
  });
  const clearHead = () => {   // nothing that has the focus hides behind the bar
    document.documentElement.style.scrollPaddingTop = `${barHeight() + 8}px`;
  };
  addEventListener("resize", clearHead);
  find("tools").addEventListener("toggle", clearHead);
  addEventListener("beforeprint", takeAll);
  [...list.querySelectorAll(".product")].forEach(take);
  marks.readAll();
  rows.forEach(showMark);
  tellSteps();
  tellKept();
  tellMarks();
  filterNow();
  if (isOfQuestions) begin();
  clearHead();
  performance.mark("ready");   // for benchmarks/error_page.py
})();
