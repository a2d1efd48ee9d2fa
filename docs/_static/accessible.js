// What axe-core misses in the theme: levels of headings, names of parts of the page, code that scrolls by keyboard,
// corners of tables that head nothing: the cells below them head their rows.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll(".sidebar-tree .caption[role=heading]")) {
    caption.setAttribute("aria-level", "2");
  }
  document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", "Pages");
  document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", "On this page");
  for (const empty of document.querySelectorAll("th.head")) {
    if (!empty.textContent.trim()) {
      const cell = document.createElement("td");
      cell.className = empty.className;
      for (const row of empty.closest("table").tBodies[0].rows) {
        row.cells[empty.cellIndex]?.setAttribute("role", "rowheader");
      }
      empty.replaceWith(cell);
    }
  }
  for (const code of document.querySelectorAll("pre, .table-wrapper")) {
    if (code.scrollWidth > code.clientWidth) {
      code.setAttribute("tabindex", "0");
    }
  }
});
