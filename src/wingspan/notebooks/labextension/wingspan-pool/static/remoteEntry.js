// Says in JupyterLab's status bar which pool maps run on. Written by hand, as JupyterLab loads extensions: nothing is bundled.
(function () {
  "use strict";
  const pause = 1000; // ms between two questions, until the pool is ready

  async function show() {
    const bar = document.querySelector("#jp-main-statusbar .jp-StatusBar-Left");
    if (bar === null) return; // Notebook has none; the terminal says it
    const data = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    const item = document.createElement("div");
    item.id = "wingspan-pool";
    item.className = "jp-StatusBar-Item jp-StatusBar-TextItem";
    item.setAttribute("role", "status");
    item.style.cssText = "padding: 0 4px; line-height: var(--jp-statusbar-height, 24px); white-space: nowrap; overflow: hidden; text-overflow: ellipsis";
    bar.appendChild(item);
    for (;;) {
      try {
        const answer = await fetch(data.baseUrl + "wingspan/pool", { credentials: "same-origin" });
        if (answer.ok) {
          const pool = await answer.json();
          item.textContent = pool.short; // as text, whatever is in it
          item.title = pool.text;
          if (pool.ready) return;
        }
      } catch (error) {
        // the server is restarted, or gone: it is asked again
      }
      await new Promise((next) => setTimeout(next, pause));
    }
  }

  const plugin = {
    id: "wingspan-pool:status",
    autoStart: true,
    activate: (app) => {
      app.restored.then(show);
    },
  };
  const all = (globalThis._JUPYTERLAB = globalThis._JUPYTERLAB || {});
  all["wingspan-pool"] = {
    init: () => {},
    get: () => Promise.resolve(() => ({ __esModule: true, default: plugin })),
  };
})();
