"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const marks = [...document.querySelectorAll("#plot .point")];
  const rows = [...document.querySelectorAll("#front tbody tr")];
  if (!data.points.length) return;

  const ROUNDING = 1e-9; // a drop of exactly the limit is allowed
  const NEAR = 40; // how far from a point the pointer may be, in units of the plot
  const widest = Math.max(1, ...data.layers.map((layer) => layer.macs));
  let shown = data.points.map(() => true);
  let chosen = -1;
  let pinned = false;

  const cell = (row, text, name) => {
    const td = row.insertCell();
    td.textContent = text;
    if (name) td.className = name;
    return td;
  };

  function layerRow(layer, choice) {
    const row = document.createElement("tr");
    cell(row, layer.name);
    cell(row, layer.kind, "whole");
    const share = data.macs ? layer.macs / data.macs : 0;
    const macs = cell(row, (100 * share).toFixed(1) + " %", "number");
    const bar = document.createElement("span");
    bar.className = "share";
    bar.style.width = (20 * layer.macs / widest).toFixed(1) + "px";
    macs.prepend(bar);
    cell(row, data.multipliers[choice[0]], "whole");
    cell(row, choice[1] ? "swapped" : "in order", choice[1] ? "whole swapped" : "whole");
    return row;
  }

  function choose(index) {
    if (index === chosen) return;
    chosen = index;
    const point = data.points[index];
    element("explore").classList.add("open");
    element("details").hidden = false;
    element("details-title").textContent = point.label;
    element("details-text").textContent = point.text;
    element("layers").replaceChildren(
      ...point.layers.map((choice, i) => layerRow(data.layers[i], choice)));
    element("download").hidden = !point.assignment;
    for (const [i, mark] of marks.entries()) {
      mark.classList.toggle("chosen", i === index);
      mark.setAttribute("aria-checked", String(i === index));
      mark.tabIndex = i === index ? 0 : -1;
      rows[i].classList.toggle("chosen", i === index);
    }
  }

  function nearest(event) {
    const plot = element("plot");
    const place = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(plot.getScreenCTM().inverse());
    let best = -1;
    let least = NEAR;
    for (const [i, mark] of marks.entries()) {
      const distance = Math.hypot(mark.dataset.x - place.x, mark.dataset.y - place.y);
      if (shown[i] && distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  function step(from, by) {
    for (let i = from + by; i >= 0 && i < marks.length; i += by) {
      if (shown[i]) return i;
    }
    return from;
  }

  function allow(limit) {
    shown = data.points.map((point) => point.drop <= limit + ROUNDING);
    for (const [i, mark] of marks.entries()) {
      mark.classList.toggle("out", !shown[i]);
      rows[i].hidden = !shown[i];
    }
    let best = -1; // points are sorted by power, falling
    for (const [i, point] of data.points.entries()) {
      if (shown[i] && !point.dominated) best = i;
    }
    const count = shown.filter(Boolean).length;
    element("best").textContent = best < 0
      ? "No point of the front has so small a drop."
      : `${count} of ${shown.length} points; least power: ` +
        `${data.points[best].label}, ${data.points[best].saved}`;
    if (best >= 0 && !pinned) choose(best);
  }

  function download() {
    const point = data.points[chosen];
    const name = point.assignment.split("/").pop();
    const link = document.createElement("a");
    const text = data.assignments[point.assignment];
    const embedded = text !== undefined;
    link.href = embedded
      ? URL.createObjectURL(new Blob([text], { type: "application/json" }))
      : point.href;
    link.download = name;
    link.click();
    if (embedded) setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function startFilter() {
    const slider = element("drop-slider");
    const number = element("drop");
    slider.min = data.filter.low;
    slider.max = data.filter.high;
    slider.step = number.step = data.filter.step;
    slider.value = number.value = data.filter.value;
    slider.addEventListener("input", () => {
      number.value = slider.value;
      allow(slider.valueAsNumber);
    });
    number.addEventListener("input", () => {
      if (Number.isNaN(number.valueAsNumber)) return;
      slider.value = number.value;
      allow(number.valueAsNumber);
    });
    element("filter").hidden = false;
    allow(data.filter.value);
  }

  function startPlot() {
    const plot = element("plot");
    plot.addEventListener("pointermove", (event) => {
      const index = pinned ? -1 : nearest(event);
      if (index >= 0) choose(index);
    });
    plot.addEventListener("click", (event) => {
      const index = nearest(event);
      pinned = index >= 0;
      if (pinned) choose(index);
    });
    plot.addEventListener("keydown", (event) => {
      const by = { ArrowRight: -1, ArrowUp: -1, ArrowLeft: 1, ArrowDown: 1 }[event.key];
      if (by === undefined || chosen < 0) return;
      event.preventDefault();
      choose(step(chosen, by));
      marks[chosen].focus();
    });
  }

  function startTable() {
    for (const [i, row] of rows.entries()) {
      const head = row.cells[0];
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => {
        pinned = true;
        choose(i);
        element("details").scrollIntoView({ block: "nearest" });
      });
      head.replaceChildren(button);
    }
  }

  element("hint").hidden = false;
  choose(0);
  startTable();
  startPlot();
  startFilter();
  element("download").addEventListener("click", download);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") pinned = false;
  });
})();
