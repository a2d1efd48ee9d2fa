// All maps and runs in a notebook: the list, and the face of the one that is chosen. view.js and list.js stand before it.

function render({ model, el }) {
  const both = document.createElement("div");
  both.className = "wsl-both";
  const left = document.createElement("div");
  const right = document.createElement("div");
  both.append(left, right);
  el.append(both);
  const list = mountList(left, { choose: (id) => model.send({ do: "choose", id }) });
  let face = null;
  let faced = null;
  const view = () => {
    const value = model.get("view");
    if (!value || value.name === undefined) return;
    if (faced !== model.get("chosen")) {
      if (face) face.close();
      faced = model.get("chosen");
      face = mount(right, { send: (message) => model.send(message) });
    }
    face.show({ ...value, ...model.get("groups"), history: model.get("history") });
  };
  const cells = () => {
    const about = model.get("about_cells");
    const data = model.get("cells");
    if (!face || !about || about.layer === undefined || !data) return;
    const bytes = data.buffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    face.grid({ ...about, data: bytes });
  };
  const entries = () => list.show(model.get("entries"), model.get("chosen"));
  const custom = (message) => {
    if (face && message.detail) face.detail(message.detail);
    if (face && message.said !== undefined) face.said(message.said);
  };
  const leave = attend(model);
  model.on("change:view change:groups change:history change:chosen", view);
  model.on("change:cells change:about_cells", cells);
  model.on("change:entries change:chosen", entries);
  model.on("msg:custom", custom);
  entries();
  view();
  cells();
  const timer = setInterval(() => document.hidden || model.send({ do: "list" }), 5000);
  return () => {
    leave();
    clearInterval(timer);
    model.off("change:view change:groups change:history change:chosen", view);
    model.off("change:cells change:about_cells", cells);
    model.off("change:entries change:chosen", entries);
    model.off("msg:custom", custom);
    if (face) face.close();
  };
}

export default { render };
