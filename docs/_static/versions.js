// Links to the other versions of the site, where `make site` has put several beside each other: versions.js in the folder
// above calls wingspanVersions. A site alone has no such file, and shows nothing. No server is needed.
function wingspanVersions(versions) {
  const root = new URL(document.documentElement.dataset.content_root ?? "./", location.href);
  const here = root.pathname.split("/").at(-2);
  const list = document.createElement("ul");
  for (const version of versions) {
    const link = document.createElement("a");
    link.className = "reference internal";
    link.href = new URL(`../${version}/index.html`, root).href;
    link.textContent = version;
    if (version === here) {
      link.setAttribute("aria-current", "page");
    }
    const item = document.createElement("li");
    item.className = version === here ? "toctree-l1 current current-page" : "toctree-l1";
    item.append(link);
    list.append(item);
  }
  const title = document.createElement("p");
  title.className = "caption";
  title.textContent = "Versions";
  const part = document.createElement("nav");
  part.className = "sidebar-tree";
  part.setAttribute("aria-label", "Versions");
  part.append(title, list);
  document.querySelector(".sidebar-scroll")?.append(part);
}
document.addEventListener("DOMContentLoaded", () => {
  const script = document.createElement("script");
  script.src = new URL("../versions.js", new URL(document.documentElement.dataset.content_root ?? "./", location.href)).href;
  document.head.append(script);
});
