// A category that a person types for a product: one of the list, or a new one, which Enter once more
// or a click creates. What is typed stays in the field until it is stored or given up, and a line
// beside the field says that it is not stored yet.
//
// `decide` and `speak` are those of page.js.
function typedCategories(data, picker, decide, speak) {
  // Say something of one product, beside its field; `proposed` is a category that may be created.
  function tell(one, said, {isFault = false, proposed = ""} = {}) {
    const field = one.where.parentElement;
    while (field.nextElementSibling?.matches("output, .propose")) field.nextElementSibling.remove();
    if (proposed) {
      const button = document.createElement("button"), hint = document.createElement("span");
      Object.assign(button, {type: "button", className: "propose", value: proposed,
        textContent: "create it"});
      Object.assign(hint, {className: "hint", textContent: ": Enter once more"});
      button.append(hint);
      field.after(button);
    }
    if (!said) return;
    const line = document.createElement("output");
    Object.assign(line, {className: isFault ? "fault" : "", textContent: said});
    field.after(line);
  }

  const proposal = (one) => one.row.querySelector(".propose")?.value;

  // A new line moves what is below, and a click there would miss: it waits until the click is done.
  let isClicking = false;
  addEventListener("mousedown", () => { isClicking = true; }, true);
  addEventListener("mouseup", () => { isClicking = false; }, true);

  function ask(one, said, more) {
    if (isClicking) {
      addEventListener("mouseup", () => setTimeout(take, 0, one), {once: true, capture: true});
      return;
    }
    tell(one, said, more);
    speak(said);
  }

  // Take what stands in the field. Returns whether it is stored; otherwise the person is asked.
  function take(one) {
    const text = one.where.value, said = text.trim();
    if (text === one.where.dataset.shown) return true;
    const known = said ? picker.named(text) : undefined;
    if (known && known.id !== one.label) {
      decide(one, data.puts, ...picker.decided(known.id));
      return true;
    }
    if (!said) {   // what is wrong stays wrong without a category
      decide(one, one.buttons.some((own) => "asks" in own.dataset) ? data.puts : "", "");
      return true;
    }
    const parts = text.split(">").map((part) => part.trim().replaceAll(/\s+/g, " "));
    const proposed = parts.join(" > ");
    if (known) {
      ask(one, "Not stored: this is the category that you call wrong. Name another one.",
        {isFault: true});
    } else if (!parts.every(Boolean) || text.length >= 300) {
      ask(one, "Not stored: write it as Parent > Leaf, shorter than 300 characters.",
        {isFault: true});
    } else if (proposal(one) !== proposed) {   // a click on its button comes through here, too
      ask(one, "Not in the list, and not stored yet.", {proposed});
    }
    return false;
  }

  return {tell, take, proposal};
}
