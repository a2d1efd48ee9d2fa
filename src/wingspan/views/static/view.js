// How a map or a run looks, in a notebook and on a page. Text from elsewhere (tags, errors, outputs) is only ever set as text.

const STATES = ["idle", "completed", "errored", "running", "held", "suspended", "removed"];
const LABELS = { hold: "Hold", release: "Release", rerun: "Run failed ones again", cancel: "Cancel" };
const QUESTIONS = {
  cancel: "Take all its jobs out of the queue? What is finished is kept.",
};

// Jupyter takes keys before the element that has the focus does (arrow keys choose cells), but not below this attribute.
const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const digits = new Intl.NumberFormat("en-US");
const number = (value) => digits.format(value);

// Set a text, if it is another one.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function label(node, text) {
  if (node.getAttribute("aria-label") !== text) node.setAttribute("aria-label", text);
}

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
}

export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

let counter = 0;

// Tell a widget's Python side that this view of it is on a page that is shown, and when it is not any more.
export function attend(model) {
  const who = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  const tell = () => model.send({ do: "attend", who, is_there: !document.hidden });
  const leave = () => model.send({ do: "attend", who, is_there: false });
  document.addEventListener("visibilitychange", tell);
  window.addEventListener("pageshow", tell);
  window.addEventListener("pagehide", leave);
  tell();
  return () => {
    document.removeEventListener("visibilitychange", tell);
    window.removeEventListener("pageshow", tell);
    window.removeEventListener("pagehide", leave);
    leave();
  };
}

// A face of one map or run in `element`.
//
// `port` is how it speaks with Python: `send(message)`; the caller calls `show(view)`, `grid(cells)`, `detail(detail)` and
// `said(text)` of the object that this answers, whenever there is something new.
export function mount(element, port) {
  const id = `ws-${Date.now().toString(36)}-${++counter}`;
  const name = make("strong", { class: "ws-name" });
  const title = make("code");
  const state = make("span", { class: "ws-state" });
  const buttons = make("span", { class: "ws-buttons" });
  const bar = make("div", { class: "ws-bar", role: "img" });
  const legend = make("ul", { class: "ws-legend" });
  const before = make("ul", { class: "ws-before", hidden: true, "aria-label": "The maps before it" });
  const pace = make("p", { class: "ws-pace" });
  const message = make("p", { class: "ws-message", hidden: true });
  const said = make("p", { class: "ws-said", role: "status" });
  const layer = make(
    "select",
    { id: `${id}-layer`, onchange: () => ask() },
    make("option", { value: "state" }, "state"),
    make("option", { value: "runtime" }, "runtime"),
    make("option", { value: "memory" }, "memory"),
  );
  const out = make("button", { type: "button", hidden: true, onclick: () => zoom(null) }, "Show all");
  const caption = make("span", { class: "ws-caption" });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const board = make(
    "div",
    {
      class: "ws-board",
      tabindex: "0",
      role: "group",
      "aria-busy": "true",
      "aria-label": "Components. Arrow keys choose one, Enter shows it, Escape goes back to all.",
      ...OWN_KEYS,
    },
    canvas,
  );
  const cursorText = make("span", { class: "ws-cursor", "aria-live": "polite" });
  const detail = make("div", { class: "ws-detail", hidden: true });
  const workers = make("div", { class: "ws-chart" });
  const errors = make("div");
  const holds = make("div");
  const parts = {
    grid: make(
      "div",
      {},
      make("div", { class: "ws-tools" }, make("label", { for: `${id}-layer` }, "Colour by "), layer, out, caption, cursorText),
      board,
      detail,
    ),
    workers,
    errors,
    holds,
  };
  const names = { grid: "Components", workers: "Workers", errors: "Errors", holds: "Holds" };
  const tabs = make("div", { class: "ws-tabs", role: "tablist", "aria-label": "What to show", ...OWN_KEYS });
  const root = make(
    "div",
    { class: "ws", role: "group", "aria-label": "Wingspan" },
    make("div", { class: "ws-head" }, name, " ", title, " ", state, buttons),
    before,
    bar,
    legend,
    pace,
    message,
    said,
    tabs,
  );
  const tab = {};
  for (const key of Object.keys(parts)) {
    tab[key] = make(
      "button",
      { type: "button", role: "tab", id: `${id}-tab-${key}`, "aria-controls": `${id}-${key}`, onclick: () => open(key) },
      names[key],
    );
    tabs.append(tab[key]);
    const panel = make("div", { role: "tabpanel", id: `${id}-${key}`, "aria-labelledby": `${id}-tab-${key}`, class: "ws-panel" });
    panel.append(parts[key]);
    parts[key] = panel;
    root.append(panel);
  }
  tabs.addEventListener("keydown", (event) => {
    const keys = Object.keys(tab).filter((key) => !tab[key].hidden);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = keys.indexOf(chosen);
    open(keys[(at + step + keys.length) % keys.length]);
    tab[chosen].focus();
    event.preventDefault();
  });

  let chosen = "grid";
  let view = null;
  let cells = null;
  let range = null; // what of the components is shown; null: all
  let cursor = 0;
  let columns = 1;
  let side = 1;
  let asked = null;
  let wide = 0; // of the board, CSS pixels; 0: not known yet
  let inSight = true;
  let pacedAt = 0;
  let jobsTold = null;

  function open(key) {
    chosen = key;
    for (const [one, panel] of Object.entries(parts)) {
      panel.hidden = one !== key;
      tab[one].setAttribute("aria-selected", String(one === key));
      tab[one].tabIndex = one === key ? 0 : -1;
    }
    if (key === "grid") draw();
    if (key === "workers") chart();
  }

  function ask() {
    asked = { first: range ? range[0] : 0, stop: range ? range[1] : view ? view.components : 0, layer: layer.value };
    board.setAttribute("aria-busy", "true");
    port.send({ do: "grid", ...asked });
  }

  function zoom(to) {
    range = to;
    cursor = 0;
    out.hidden = range === null;
    detail.hidden = true;
    ask();
  }

  // -- the head ---------------------------------------------------------------------------------------------------

  // `next` may be a part of a view: what it leaves out is as before.
  function show(next) {
    view = { ...view, ...next };
    write(name, view.name);
    const what = view.kind === "map" ? `${view.title} × ${number(view.components)}` : view.title;
    write(title, what);
    label(root, `${view.kind} ${view.name}`);
    const running = view.workers.running || 0;
    const how = view.is_removed
      ? "removed"
      : view.is_done
        ? view.states.errored
          ? "done, with failures"
          : "done"
        : running
          ? "running"
          : "waiting";
    write(state, how);
    const colour = view.is_removed ? "removed" : view.is_done ? (view.states.errored ? "errored" : "completed") : running ? "running" : "idle";
    if (state.dataset.state !== colour) state.dataset.state = colour;
    root.classList.toggle("ws-is-removed", view.is_removed);
    const present = STATES.filter((one) => view.states[one]);
    const order = ["completed", "errored", "running", "held", "suspended", "removed", "idle"].filter((one) => present.includes(one));
    const told = order.map((one) => `${number(view.states[one])} ${one}`);
    // Elements that are there are changed, not made again: that costs the browser much less.
    if (bar.dataset.order !== order.join()) {
      bar.dataset.order = order.join();
      bar.replaceChildren(...order.map((one) => make("span", { "data-state": one })));
      legend.replaceChildren(...order.map((one) => make("li", {}, make("i", { "data-state": one }), "")));
    }
    order.forEach((one, at) => {
      const share = String(view.states[one]);
      if (bar.children[at].style.flexGrow !== share) bar.children[at].style.flexGrow = share;
      write(legend.children[at].lastChild, told[at]);
    });
    chain();
    label(bar, `${told.join(", ")} of ${number(view.components)}`);
    tellPace();
    if (message.hidden !== !view.message) message.hidden = !view.message;
    write(message, view.message || "");
    act();
    groups();
    if (cells === null && asked === null) ask();
    if (chosen === "workers") chart();
  }

  // Rate and time left once a second: nobody can read them as often as they change.
  function tellPace() {
    const jobs = Object.entries(view.workers).map(([one, count]) => `${number(count)} ${one}`);
    const told = `${view.kind === "map" ? "workers" : "jobs"}: ${jobs.join(", ") || "none"}${view.pools.length ? ` (${view.pools.join(", ")})` : ""}`;
    const now = performance.now();
    if (told === jobsTold && !view.is_done && now - pacedAt < 900) return;
    pacedAt = now;
    jobsTold = told;
    const words = [];
    if (!view.is_done && view.rate) words.push(`${view.rate < 10 ? view.rate.toFixed(1) : number(Math.round(view.rate))} a second`);
    if (!view.is_done && view.left !== null) words.push(`${clock(view.left)} left`);
    write(pace, [...words, told].join(" · "));
  }

  // A line for each map that this one waits for.
  function chain() {
    const stages = view.before || [];
    before.hidden = !stages.length;
    const seen = JSON.stringify(stages);
    if (before.dataset.seen === seen) return;
    before.dataset.seen = seen;
    before.replaceChildren(
      ...stages.map((one) => {
        const counts = { completed: one.completed, errored: one.errored, idle: one.components - one.completed - one.errored };
        const spans = Object.entries(counts).filter(([, count]) => count).map(([name, count]) => {
          const span = make("span", { "data-state": name });
          span.style.flexGrow = count;
          return span;
        });
        const failed = one.errored ? `, ${number(one.errored)} failed` : "";
        const told = `${one.name}: ${number(one.completed)} of ${number(one.components)}${failed}`;
        return make("li", {}, make("span", {}, told), make("div", { class: "ws-bar", "aria-hidden": "true" }, ...spans));
      }),
    );
  }

  function act() {
    const wanted = view.actions.join();
    if (buttons.dataset.actions === wanted) return;
    buttons.dataset.actions = wanted;
    buttons.replaceChildren(
      ...view.actions.map((action) =>
        make("button", { type: "button", onclick: (event) => press(action, event.currentTarget) }, LABELS[action] || action),
      ),
    );
  }

  function press(action, button) {
    if (QUESTIONS[action] && button.dataset.sure !== "yes") {
      button.dataset.sure = "yes";
      button.textContent = `${LABELS[action]}: sure?`;
      said.textContent = QUESTIONS[action];
      setTimeout(() => {
        delete button.dataset.sure;
        button.textContent = LABELS[action];
      }, 5000);
      return;
    }
    said.textContent = `${LABELS[action] || action}…`;
    port.send({ do: "act", action });
  }

  function groups() {
    tab.errors.hidden = !view.errors.length;
    tab.holds.hidden = !view.holds.length;
    if ((chosen === "errors" && tab.errors.hidden) || (chosen === "holds" && tab.holds.hidden)) open("grid");
    const failed = view.errors.reduce((sum, group) => sum + group.count, 0);
    write(tab.errors, `Errors (${number(failed)})`);
    write(tab.holds, `Holds (${number(view.holds.reduce((sum, group) => sum + group.count, 0))})`);
    fill(errors, view.errors, (group) => [
      make("strong", {}, group.kind),
      ` ${group.at_least ? "at least " : ""}${number(group.count)} × `,
      make("button", { type: "button", class: "ws-link", onclick: () => choose(group.component) }, `${view.kind === "map" ? "component" : "job"} ${number(group.component)}`),
      make("pre", { tabindex: "0" }, group.text),
      group.hint ? make("p", { class: "ws-hint" }, group.hint) : null,
    ]);
    fill(holds, view.holds, (group) => [
      make("strong", {}, `${plural(group.count, "job")} held`),
      make("pre", { tabindex: "0" }, group.reason),
      make("p", { class: "ws-hint" }, group.hint),
    ]);
  }

  function fill(node, list, draw) {
    if (node.drawnFrom === list) return;
    node.drawnFrom = list;
    const text = JSON.stringify(list);
    if (node.dataset.drawn === text) return;
    node.dataset.drawn = text;
    node.replaceChildren(...list.map((group) => make("article", { class: "ws-group" }, ...draw(group))));
  }

  // -- the grid ---------------------------------------------------------------------------------------------------

  function grid(next) {
    if (range === null ? next.first !== 0 || next.stop !== view.components : next.first !== range[0] || next.stop !== range[1]) return;
    if (next.layer !== layer.value) return;
    // A copy of our own, which can be compared four bytes at a time.
    const words = new Uint32Array(Math.ceil(next.data.length / 4));
    const data = new Uint8Array(words.buffer);
    data.set(next.data);
    cells = { ...next, data, words };
    if (board.getAttribute("aria-busy") !== "false") board.setAttribute("aria-busy", "false");
    draw();
  }

  // What the canvas shows; where layout and colours stay, only cells that have changed are painted.
  let painted = { key: null, words: null, marked: null };

  // Colours of the theme, as they were read last: to ask for them has the browser work out all styles.
  let palette = null;

  function colours() {
    if (palette === null) {
      const style = getComputedStyle(root);
      palette = ["text", "ground", ...STATES].map((one) => style.getPropertyValue(`--ws-${one}`).trim() || "gray");
    }
    return palette;
  }

  function draw() {
    // Before the face is in the page there are neither colours nor a width; the first observer to look then draws it.
    if (cells === null || parts.grid.hidden || !inSight || !root.isConnected) return;
    const perCell = cells.layer === "state" ? 2 : 1;
    const count = Math.ceil((cells.stop - cells.first) / cells.size);
    wide = wide || board.clientWidth;
    const width = Math.max(120, wide || 600);
    side = Math.max(4, Math.min(18, Math.floor(Math.sqrt((width * 180) / Math.max(count, 1)))));
    columns = Math.max(1, Math.floor(width / side));
    const rows = Math.ceil(count / columns);
    const ratio = window.devicePixelRatio || 1;
    const [text, ground, ...states] = colours();
    const empty = states[0];
    cursor = Math.min(cursor, Math.max(0, count - 1));
    const marked = board === (board.getRootNode().activeElement || null) ? cursor : null;
    const key = [count, columns, side, ratio, cells.layer, text, ground, ...states].join();
    // The mark of the chosen cell reaches into its neighbours: then all is painted.
    const all = key !== painted.key || marked !== null || painted.marked !== null;
    if (all) {
      canvas.style.width = `${columns * side}px`;
      canvas.style.height = `${rows * side}px`;
      canvas.width = Math.round(columns * side * ratio);
      canvas.height = Math.round(rows * side * ratio);
      const whole = canvas.getContext("2d", { alpha: false });
      whole.scale(ratio, ratio);
      whole.fillStyle = ground;
      whole.fillRect(0, 0, columns * side, rows * side);
    }
    const context = canvas.getContext("2d", { alpha: false });
    const gap = side > 6 ? 1 : side > 3 ? 0.5 : 0;
    const paint = (cell, colour, alpha) => {
      context.globalAlpha = alpha;
      context.fillStyle = colour;
      context.fillRect((cell % columns) * side, Math.floor(cell / columns) * side, side - gap, side - gap);
    };
    // A failure is known by its form, too, and not by its colour alone.
    const strike = (cell) => {
      const [x, y, end] = [(cell % columns) * side, Math.floor(cell / columns) * side, side - gap];
      context.strokeStyle = ground;
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x + 2, y + end - 2);
      context.lineTo(x + end - 2, y + 2);
      context.stroke();
    };
    const draws = (cell) => {
      const value = cells.data[perCell * cell];
      if (perCell === 1) {
        paint(cell, value ? `hsl(${255 - (value / 255) * 225} 75% ${30 + (value / 255) * 28}%)` : empty, 1);
        return;
      }
      paint(cell, value === 1 ? empty : states[value], 1);
      if (value === 1) paint(cell, states[1], 0.15 + (0.85 * cells.data[2 * cell + 1]) / 255);
      if (value === 2 && side > 7) strike(cell);
    };
    const perWord = 4 / perCell;
    for (let word = 0; word < cells.words.length; word += 1) {
      if (!all && cells.words[word] === painted.words[word]) continue;
      const stop = Math.min(count, (word + 1) * perWord);
      for (let cell = word * perWord; cell < stop; cell += 1) draws(cell);
    }
    context.globalAlpha = 1;
    if (marked !== null) {
      context.strokeStyle = text;
      context.lineWidth = 2;
      context.strokeRect((cursor % columns) * side, Math.floor(cursor / columns) * side, side - gap, side - gap);
    }
    painted = { key, words: cells.words, marked };
    write(caption, captionText());
  }

  function captionText() {
    const text = [];
    if (cells.size > 1) text.push(`a cell is ${number(cells.size)} components`);
    if (cells.low !== null && cells.low !== undefined) {
      const word = cells.layer === "memory" ? size : clock;
      text.push(`${word(cells.low)} to ${word(cells.high)}`);
    }
    if (range) text.push(`components ${number(range[0])} to ${number(range[1] - 1)}`);
    return text.join(", ");
  }

  function span(cell) {
    const low = cells.first + cell * cells.size;
    return [low, Math.min(low + cells.size, cells.stop)];
  }

  function tell() {
    if (!cells) return;
    const [low, high] = span(cursor);
    const code = cells.layer === "state" ? ` ${STATES[cells.data[2 * cursor]]}` : "";
    cursorText.textContent = high - low === 1 ? `${number(low)}${code}` : `${number(low)} to ${number(high - 1)}${code}`;
  }

  function enter(cell) {
    if (!cells) return;
    const [low, high] = span(cell);
    if (high - low === 1) choose(low);
    else zoom([low, high]);
  }

  function choose(component) {
    if (chosen !== "grid") open("grid");
    detail.hidden = false;
    detail.replaceChildren(make("p", {}, `component ${number(component)}…`));
    port.send({ do: "detail", number: component });
  }

  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const cell = Math.floor((event.clientY - box.top) / side) * columns + Math.floor((event.clientX - box.left) / side);
    return cells && cell >= 0 && cell < Math.ceil((cells.stop - cells.first) / cells.size) ? cell : null;
  };
  canvas.addEventListener("mousemove", (event) => {
    const cell = cellAt(event);
    if (cell === null) return;
    const keep = cursor;
    cursor = cell;
    tell();
    if (board.getRootNode().activeElement !== board) cursor = keep;
  });
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell === null) return;
    cursor = cell;
    enter(cell);
    draw();
  });
  board.addEventListener("focus", () => {
    tell();
    draw();
  });
  board.addEventListener("blur", draw);
  board.addEventListener("keydown", (event) => {
    if (!cells) return;
    const last = Math.ceil((cells.stop - cells.first) / cells.size) - 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -cursor, End: last - cursor };
    if (event.key in steps) {
      cursor = Math.max(0, Math.min(last, cursor + steps[event.key]));
      tell();
      draw();
    } else if (event.key === "Enter" || event.key === " ") enter(cursor);
    else if (event.key === "Escape") {
      if (!detail.hidden) detail.hidden = true;
      else if (range) zoom(null);
      else return;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function showDetail(one) {
    detail.hidden = false;
    const facts = make("dl", {});
    for (const [key, value] of [["state", one.state], ...one.facts]) facts.append(make("dt", {}, key), make("dd", {}, value));
    detail.replaceChildren(
      make(
        "p",
        {},
        make("strong", {}, `${view.kind === "map" ? "component" : "job"} ${number(one.number)}`),
        " ",
        make("button", { type: "button", class: "ws-link", onclick: () => (detail.hidden = true) }, "Close"),
      ),
      facts,
      ...one.texts.map(([key, text]) => make("div", {}, make("p", { class: "ws-key" }, key), make("pre", { tabindex: "0" }, text))),
    );
  }

  // -- workers over time ------------------------------------------------------------------------------------------

  function chart() {
    const points = view ? view.history : [];
    if (points.length < 2) {
      workers.replaceChildren(make("p", {}, "Nothing has been seen yet."));
      return;
    }
    const [width, height] = [600, 120];
    const [begin, end] = [points[0][0], points[points.length - 1][0]];
    const x = (time) => ((time - begin) / Math.max(end - begin, 1e-9)) * width;
    const line = (at, most) => points.map((point) => `${x(point[0]).toFixed(1)},${(height - (point[at] / Math.max(most, 1)) * (height - 10)).toFixed(1)}`).join(" ");
    const mostWorkers = Math.max(...points.map((point) => point[2]));
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Over ${clock(end - begin)}: at most ${plural(mostWorkers, "worker")} running, ${number(view.finished)} of ${number(view.components)} finished`);
    for (const [at, most, kind] of [[1, view.components, "finished"], [2, mostWorkers, "running"]]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      path.setAttribute("points", line(at, most));
      path.setAttribute("class", `ws-line ws-line-${kind}`);
      svg.append(path);
    }
    workers.replaceChildren(
      svg,
      make(
        "ul",
        { class: "ws-legend" },
        make("li", {}, make("i", { "data-state": "completed" }), "finished"),
        make("li", {}, make("i", { "data-state": "running" }), `running workers, at most ${number(mostWorkers)}`),
        make("li", {}, `over ${clock(end - begin)}`),
      ),
    );
  }

  element.append(root);
  open("grid");
  const observers = [];
  if (typeof ResizeObserver !== "undefined") {
    const observer = new ResizeObserver(([entry]) => {
      if (!entry.contentRect.width) return; // another part is shown
      wide = entry.contentRect.width;
      draw();
    });
    observer.observe(board);
    observers.push(observer);
  }
  if (typeof IntersectionObserver !== "undefined") {
    const observer = new IntersectionObserver((entries) => {
      inSight = entries[entries.length - 1].isIntersecting;
      palette = null;
      draw();
    });
    observer.observe(root);
    observers.push(observer);
  }
  // A theme that changes: JupyterLab, VS Code and marimo set attributes of the page, and load styles a little later.
  const repaint = () => {
    palette = null;
    draw();
  };
  const themed = new MutationObserver(() => {
    repaint();
    setTimeout(repaint, 1000);
  });
  for (const one of [document.documentElement, document.body]) themed.observe(one, { attributes: true });
  observers.push(themed);
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", repaint);
  return {
    show,
    grid,
    detail: showDetail,
    said: (text) => {
      said.textContent = text;
    },
    close: () => {
      for (const observer of observers) observer.disconnect();
      scheme.removeEventListener("change", repaint);
      root.remove();
    },
  };
}
