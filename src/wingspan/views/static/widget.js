// The face of a map or run in a notebook: anywidget calls `render`. `mount` stands before it, from view.js.

function render({ model, el }) {
  const face = mount(el, { send: (message) => model.send(message) });
  const view = () => {
    const value = model.get("view");
    if (value && value.name !== undefined) face.show({ ...value, ...model.get("groups"), history: model.get("history") });
  };
  const cells = () => {
    const about = model.get("about_cells");
    const data = model.get("cells");
    if (!about || about.layer === undefined || !data) return;
    const bytes = data.buffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    face.grid({ ...about, data: bytes });
  };
  const custom = (message) => {
    if (message.detail) face.detail(message.detail);
    if (message.said !== undefined) face.said(message.said);
  };
  const leave = attend(model);
  model.on("change:view change:groups change:history", view);
  model.on("change:cells change:about_cells", cells);
  model.on("msg:custom", custom);
  view();
  cells();
  return () => {
    leave();
    model.off("change:view change:groups change:history", view);
    model.off("change:cells change:about_cells", cells);
    model.off("msg:custom", custom);
    face.close();
  };
}

export default { render };
