// The slider over thresholds of the page of errors: what would be filed, and which errors with it.
//
// In: `data` with steps [[score, accepted, right]], n predictions and the score to begin at.
// Out: limit() -> the score from which products are filed. changed() is called when that moves.
function thresholdSlider(data, changed) {
  const find = (name) => document.getElementById(name), slider = find("threshold");
  if (!slider) return null;
  const share = (part, whole) => (100 * part / whole).toFixed(1) + " %";
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
    if (find("through").checked) changed();
  }

  slider.max = data.steps.length - 1;
  // It begins where 98 % are promised, else where 98 % were right, as far down as that goes.
  slider.value = data.start === null ?
    data.steps.findLastIndex(([, accepted, right]) => right >= .98 * accepted) :
    data.steps.findLastIndex(([score]) => score >= data.start);
  slider.addEventListener("input", slide);
  find("through").addEventListener("change", changed);
  slide();
  return {limit: () => limit};
}
