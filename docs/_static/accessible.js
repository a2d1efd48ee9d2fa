// What axe-core misses in the theme: levels of headings, names of parts of the page, code that scrolls by keyboard,
// cells at the corner of a table that head nothing.
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
      empty.replaceWith(cell);
    }
  }
  for (const code of document.querySelectorAll("pre, .table-wrapper")) {
    if (code.scrollWidth > code.clientWidth) {
      code.setAttribute("tabindex", "0");
    }
  }
});
