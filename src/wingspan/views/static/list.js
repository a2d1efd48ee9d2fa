// The list of all maps and runs. `port`: `choose(id)`.

function told(entry) {
  if (entry.damaged) return `damaged: ${entry.damaged}`;
  const states = Object.entries(entry.states).map(([name, number]) => `${number.toLocaleString("en-US")} ${name}`);
  return `${entry.kind}: ${states.join(", ")}`;
}

export function mountList(element, port) {
  const id = `wsl-${Math.random().toString(36).slice(2)}`;
  const nav = document.createElement("nav");
  nav.className = "wsl";
  nav.setAttribute("aria-label", "Maps and runs");
  const label = document.createElement("label");
  label.htmlFor = id;
  label.textContent = "Filter";
  const filter = document.createElement("input");
  filter.id = id;
  filter.type = "search";
  filter.autocomplete = "off";
  const list = document.createElement("ul");
  const count = document.createElement("p");
  count.setAttribute("role", "status");
  nav.append(label, filter, list, count);
  element.append(nav);
  let entries = [];
  let chosen = null;

  function draw() {
    const wanted = filter.value.toLowerCase();
    const focused = nav.getRootNode().activeElement;
    const again = focused && list.contains(focused) ? focused.dataset.id : null;
    list.replaceChildren(
      ...entries
        .filter((entry) => entry.name.toLowerCase().includes(wanted))
        .map((entry) => {
          const item = document.createElement("li");
          const button = document.createElement("button");
          button.type = "button";
          button.dataset.id = entry.id;
          button.setAttribute("aria-current", String(entry.id === chosen));
          const about = document.createElement("span");
          about.textContent = told(entry);
          button.append(entry.name, about);
          button.addEventListener("click", () => port.choose(entry.id));
          item.append(button);
          return item;
        }),
    );
    if (again) [...list.querySelectorAll("button")].find((button) => button.dataset.id === again)?.focus();
    count.textContent = entries.length ? entries.length === 1 ? "one map or run" : `${entries.length} maps and runs` : "no maps and no runs yet";
  }

  filter.addEventListener("input", draw);
  return {
    show: (next, current) => {
      const text = JSON.stringify([next, current]);
      if (nav.dataset.drawn === text) return;
      nav.dataset.drawn = text;
      entries = next;
      chosen = current;
      draw();
    },
    said: (text) => {
      count.textContent = text;
    },
  };
}
