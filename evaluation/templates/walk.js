// Going from product to product. One of them is where a person is: it has the focus, or had it last.
//
// `rows` is that of page.js, in order; takeAll() has all rows of a long page made.
function productWalk(rows, takeAll, speak) {
  let current = null;

  function barHeight() {
    const bar = document.getElementById("bar");
    return getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
  }

  function move(by) {
    // From where one was, also when a filter has hidden that.
    let place = rows.indexOf(current) + by;
    if (place >= rows.length) takeAll();
    while (rows[place] && rows[place].row.hidden) place += by;
    if (rows[place]) current = rows[place];
    look();
  }

  // To the next product that has no decision; after the last one from the top.
  function goOn() {
    const place = rows.indexOf(current);
    const open = (one) => !one.row.hidden && !one.decision.value;
    const following = () => rows.slice(place + 1).find(open);
    let next = following();
    if (!next) {
      takeAll();
      next = following() ?? rows.slice(0, place + 1).find(open);
    }
    if (next) current = next;
    else speak("All of them are decided: save.");
    look();
  }

  function goTo(one) {
    current = one;
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

  return {now: () => current, stand: (one) => { current = one; }, barHeight, move, goOn, goTo, look,
    inSight};
}
