// What the bar of a page says: how many products are decided, about how long the rest takes, how
// many decisions are to be saved, or are saved; and their file.
//
// `rows` and `rowOf` are those of page.js, `marks` is keptMarks.
const many = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;

function statusBar(data, marks, rows, rowOf) {
  const find = (name) => document.getElementById(name);

  function speak(text) {
    find("spoken").textContent = text;
  }

  function tellKept() {
    const {size} = marks.unkept, other = marks.overtaken.size;
    find("kept").textContent = [
      size && `This browser has no room for ${many(size, "decision")}: save before you leave or ` +
        "reload this page, or they are lost.",
      other && `${many(other, "product")} had another decision in this browser than ` +
        `${data.database} has by now: the one of ${data.database} is shown.`,
    ].filter(Boolean).join(" ");
  }

  function tellMarks() {
    const all = Object.keys(marks.marks), unsaved = all.filter(marks.isUnsaved);
    const told = unsaved.length ? unsaved : all;
    const elsewhere = rows.length < data.rows ? [] : told.filter((product) => !rowOf.has(product));
    let count = 0, left = 0;
    const seen = new Set();
    for (const {decision, group} of rows) {
      if (decision.value) count += 1;
      else if (!group || group.open || !seen.has(group)) {   // a closed group is decided at once
        left += 1;
        if (group) seen.add(group);
      }
    }
    left += data.rows - rows.length;
    find("progress").max = data.rows;
    find("progress").value = count;
    find("marked").textContent =
      `${count.toLocaleString()} of ${data.rows.toLocaleString()} ${data.done ?? "decided"}` +
      timeLeft(left);
    find("changed").textContent = all.length ?
      `${told.length.toLocaleString()} ${unsaved.length ? "to save" : "saved"}` +
      (elsewhere.length ? ` (${elsewhere.length} of them not on this page)` : "") : "";
  }

  function timeLeft(left) {
    const pace = marks.pace();
    if (pace === null || !left) return "";
    const minutes = Math.ceil(left * pace / 60000);
    return `, about ${minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} hours`} left`;
  }

  function save() {
    const link = document.createElement("a"), {length} = Object.keys(marks.marks);
    link.href = URL.createObjectURL(new Blob([marks.fileText()], {type: "text/csv"}));
    link.download = data.file ?? "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    find("saved").textContent = length ?
      `${link.download} holds ${many(length, "decision")}. They stay here too, until ` +
      "analyze.py --overrides has taken them and the page is made again." :
      "There is no decision to save that is new.";
    marks.noteSaved();
    tellKept();
    tellMarks();
  }

  find("save").addEventListener("click", save);
  return {speak, tellKept, tellMarks};
}
