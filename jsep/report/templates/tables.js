"use strict";
// Tables: sorted by any column, one group of columns at a time, standard deviation or interval.
(function () {
  function value(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const words = cell.textContent.trim();
    const head = cell.closest("table").tHead.rows[0].cells[column];
    return head.classList.contains("text") ? words : Number.parseFloat(words.replaceAll("−", "-"));
  }

  function sort(table, head, status) {
    const column = head.cellIndex;
    const heads = [...table.tHead.rows[0].cells];
    const rising = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.hasAttribute("aria-sort"));
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      // What has no value comes last, whichever way the rest goes.
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return rising ? order : -order;
    });
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
    if (status) status.textContent = `Sorted by ${head.dataset.name}, ${rising ? "smallest" : "largest"} first.`;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const status = document.getElementById("table-status");
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sort(table, head, status));
    }
  }

  const groups = [...document.querySelectorAll("[data-group]")];
  function showGroup(name) {
    for (const group of groups) group.hidden = group.dataset.group !== name;
  }
  for (const radio of document.querySelectorAll("input[name=group]")) {
    radio.addEventListener("change", () => showGroup(radio.value));
    // A browser may restore another choice than the first when it goes back to the page.
    if (radio.checked) showGroup(radio.value);
  }
  for (const radio of document.querySelectorAll("input[name=only]")) {
    const apply = () => {
      for (const row of document.querySelectorAll("tr[data-method]")) row.hidden = radio.value !== "" && row.dataset.method !== radio.value;
    };
    radio.addEventListener("change", apply);
    if (radio.checked) apply();
  }
  for (const radio of document.querySelectorAll("input[name=spread]")) {
    const apply = () => {
      for (const box of document.querySelectorAll("[data-spread]")) box.dataset.spread = radio.value;
    };
    radio.addEventListener("change", apply);
    if (radio.checked) apply();
  }
})();
