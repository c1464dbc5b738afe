"use strict";
// A click on a header sorts its table by that column, a second one the other way round. Cells without a figure stay last.
for (const table of document.querySelectorAll("table")) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const first = [...body.rows];
  headers.forEach((header, column) => {
    const numeric = header.classList.contains("number");
    header.querySelector("button").addEventListener("click", () => {
      const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of headers) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const value = (row) => (numeric ? row.cells[column].dataset.key : row.cells[column].textContent);
      const order = (a, b) => {
        if (!numeric) return direction * a.localeCompare(b, "en", { numeric: true });
        return a === "" || b === "" ? (a === "") - (b === "") : direction * (a - b);
      };
      body.append(...[...first].sort((a, b) => order(value(a), value(b))));
    });
  });
}
// Paper cannot be unfolded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
