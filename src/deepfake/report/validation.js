"use strict";
// Each heading of a sortable table becomes a button; without this script the tables stand as they are.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (heading.hasAttribute("data-fixed")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, headings, column));
  });
}

function sort(table, headings, column) {
  const rising = headings[column].getAttribute("aria-sort") !== "ascending";
  for (const heading of headings) heading.removeAttribute("aria-sort");
  headings[column].setAttribute("aria-sort", rising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, value: valueOf(row.cells[column]) }));
  rows.sort((a, b) => compare(a, b, rising) || a.place - b.place);
  table.tBodies[0].append(...rows.map((item) => item.row));
  const order = rising ? "rising" : "falling";
  document.getElementById("said").textContent = `Sorted by ${headings[column].textContent.trim()}, ${order}`;
}

// A cell's data-value is a number; an empty one is unknown and stays below in either direction.
function valueOf(cell) {
  if (!cell.hasAttribute("data-value")) return cell.textContent.trim();
  const text = cell.getAttribute("data-value");
  return text === "" ? null : Number(text);
}

function compare(a, b, rising) {
  if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
  const order =
    typeof a.value === "number" && typeof b.value === "number"
      ? a.value - b.value
      : String(a.value).localeCompare(String(b.value), "en", { numeric: true });
  return rising ? order : -order;
}
