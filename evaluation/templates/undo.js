// What was decided on a page and may be taken back, the last first.
//
// A step is [[product, what was decided on it before]]. This tab keeps the steps, so they are there
// when the page is loaded again. A page that was made anew begins without any: by then the database
// may have what was decided.
function keptSteps(data) {
  const MOST = 200, name = `undo ${data.key}`;
  const kept = read();

  function read() {
    try {
      const {made, steps} = JSON.parse(sessionStorage.getItem(name));
      return made === data.made && Array.isArray(steps) ? steps : [];
    } catch { return []; }   // there are none, or the browser keeps nothing
  }

  function keep() {
    kept.splice(0, kept.length - MOST);
    const text = JSON.stringify({made: data.made, steps: kept});
    try { sessionStorage.setItem(name, text); } catch { /* until this page is left */ }
  }

  function push(step) {
    kept.push(step);
    keep();
  }

  function pop() {
    const step = kept.pop();
    keep();
    return step;
  }

  return {push, pop, count: () => kept.length};
}
