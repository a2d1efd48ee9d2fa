// The dashboard: a list of all maps and runs, and the face of the one that is chosen.

import { mountList } from "./list.js";
import { mount } from "./view.js";

// The token has done its work: it is neither seen nor kept in the history.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);

const shown = document.getElementById("shown");
let entries = [];
let chosen = null;
let face = null;
let events = null;
let again = null;
const list = mountList(document.getElementById("list"), { choose: (id) => choose(id) });

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.body.classList.toggle("ws-dark", dark.matches);
dark.addEventListener("change", dress);
dress();

const address = (path, values) => `${path}?${new URLSearchParams(values)}`;

async function ask(path, values) {
  const answer = await fetch(address(path, values));
  return answer.json();
}

function choose(id) {
  chosen = id;
  if (events) events.close();
  if (face) face.close();
  shown.replaceChildren();
  list.show(entries, chosen);
  let wanted = {};
  const put = (data, from, base64) => {
    const text = atob(base64);
    for (let at = 0; at < text.length; at += 1) data[from + at] = text.charCodeAt(at);
    return data;
  };
  const grid = async () => {
    const cells = await ask("cells", { of: id, ...wanted });
    if (chosen === id && cells.data !== undefined) face.grid({ ...cells, data: put([], 0, cells.data) });
  };
  // From now on each view comes with the grid that is shown: both are drawn at once.
  const listen = () => {
    if (events) events.close();
    events = null;
    if (document.hidden) return;
    const heard = new EventSource(address("events", { of: id, ...wanted }));
    let last = [];
    events = heard;
    heard.addEventListener("message", (event) => {
      if (events !== heard) return;
      const { view, cells } = JSON.parse(event.data);
      face.show(view);
      if (!cells) return;
      // The first grid of a connection is whole; of each later one the stretches come that have changed.
      last = cells.data === undefined ? last : put([], 0, cells.data);
      for (const [from, stretch] of cells.changed || []) put(last, from, stretch);
      face.grid({ ...cells, data: last });
    });
  };
  face = mount(shown, {
    send: async (message) => {
      if (message.do === "grid") {
        wanted = { first: message.first, stop: message.stop, layer: message.layer };
        listen();
        await grid();
      } else if (message.do === "detail") {
        const detail = await ask("detail", { of: id, number: message.number });
        if (detail.said !== undefined) face.said(detail.said);
        else face.detail(detail);
      } else if (message.do === "act") {
        const answer = await fetch("act", {
          method: "POST",
          headers: { "X-Wingspan": "1", "Content-Type": "application/json" },
          body: JSON.stringify({ of: id, action: message.action }),
        });
        face.said((await answer.json()).said);
      }
    },
  });
  again = listen;
  listen();
  location.hash = encodeURIComponent(id);
}

async function look() {
  if (document.hidden) return;
  try {
    entries = await ask("list", {});
    list.show(entries, chosen);
    const named = decodeURIComponent(location.hash.slice(1));
    if (chosen === null && named && entries.some((entry) => entry.id === named)) choose(named);
    else if (chosen === null && entries.length === 1) choose(entries[0].id);
  } catch {
    list.said("wingspan dashboard has ended");
  }
}

// While nobody sees the page, nothing is asked for.
document.addEventListener("visibilitychange", () => {
  look();
  if (again) again();
});

look();
setInterval(look, 3000);
