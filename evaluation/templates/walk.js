// Going from product to product. One of them is the current one, to which keys go: it has the focus,
// or had it last. It is marked, and before anything has had the focus it is the first that is open.
//
// `rows` is that of page.js, in order; takeAll() has all rows of a long page made.
function productWalk(rows, takeAll, speak) {
  let current = null;

  function barHeight() {
    const bar = document.getElementById("bar");
    return getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
  }

  function stand(one) {
    current?.row.removeAttribute("aria-current");
    current = one;
    current?.row.setAttribute("aria-current", "true");
  }

  const isOpen = (one) => !one.row.hidden && !one.decision.value;

  // Without the focus, which may be a screen reader's, and without scrolling.
  function begin() {
    if (!current) stand(rows.find(isOpen) ?? null);
  }

  function move(by) {
    if (current && !current.row.hidden && !inSight(current)) return look();
    // From where one was, also when a filter has hidden that.
    let place = rows.indexOf(current) + by;
    if (place >= rows.length) takeAll();
    while (rows[place] && rows[place].row.hidden) place += by;
    if (rows[place]) stand(rows[place]);
    look();
  }

  // To where one is; if a filter has hidden that, to the next product that is left.
  function comeBack() {
    if (current.row.hidden) move(1);
    else look();
  }

  // To the next product that has no decision; after the last one from the top.
  function goOn() {
    const place = rows.indexOf(current);
    const following = () => rows.slice(place + 1).find(isOpen);
    let next = following();
    if (!next) {
      takeAll();
      next = following() ?? rows.slice(0, place + 1).find(isOpen);
    }
    if (next) stand(next);
    else speak("All of them are decided: save.");
    look();
  }

  function goTo(one) {
    stand(one);
    look();
  }

  function look() {
    if (!current || current.row.hidden) return;
    current.row.focus({preventScroll: true});
    // Calm while it is in sight; otherwise to the top, below the bar.
    const {top, bottom} = current.row.getBoundingClientRect(), head = barHeight();
    if (top < head || bottom > innerHeight) scrollTo({top: top + scrollY - head - 8});
  }

  function inSight(one) {
    const {top, bottom} = one.row.getBoundingClientRect();
    return !one.row.hidden && bottom > barHeight() && top < innerHeight;
  }

  return {now: () => current, stand, begin, barHeight, move, comeBack, goOn, goTo, look, inSight};
}
