// Lines over time, as SVG. The numbers are also there as a table for whoever cannot see or point.

import { h, s } from "./dom.js";
import { clock } from "./format.js";

const HEIGHT = 170;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 52 };

/** The least round number that is not below `value`. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) {
    if (step * power >= value) return step * power;
  }
  return 10 * power;
}

/**
 * `at`: moments in seconds; `lines`: [{name, values, kind, format}]; `cursor`: index under the pointer or null;
 * `span`: seconds that the axis covers; `floor`/`top`: ends of the scale when they are not 0 and the maximum.
 */
export function chart({ id, name, at, lines, format, width, cursor, span, floor = 0, top = null }) {
  const all = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const high = top ?? ceiling(Math.max(...all, floor));
  const end = at.length ? at[at.length - 1] : Date.now() / 1000;
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const x = (moment) => MARGIN.left + inner.width * (1 - (end - moment) / span);
  const y = (value) => MARGIN.top + inner.height * (1 - (Math.max(value, floor) - floor) / (high - floor || 1));
  const shown = cursor !== null && cursor < at.length ? cursor : at.length - 1;
  const drawing = s(
    "svg",
    {
      width,
      height: HEIGHT,
      viewBox: `0 0 ${width} ${HEIGHT}`,
      role: "img",
      "aria-label": summary(name, at, lines, format, span),
      "data-chart": id,
      "data-left": MARGIN.left,
      "data-width": inner.width,
      "data-end": end,
      "data-span": span,
    },
    grid(floor, high, format, y, width),
    hours(end, span, x),
    lines.map((line) => path(line, at, x, y)),
    cursor !== null && at.length
      ? s("line", { class: "cursor", x1: x(at[shown]), x2: x(at[shown]), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom })
      : null,
  );
  const legend = lines.map((line) =>
    h(
      "span",
      { class: `key ${line.kind}` },
      h("span", { class: "swatch" }),
      lines.length > 1 ? `${line.name} ` : "",
      h("strong", null, at.length ? format(line.values[shown]) : "–"),
    ),
  );
  const moment = cursor !== null && at.length ? h("span", { class: "moment" }, clock(at[shown])) : null;
  return h(
    "figure",
    { class: "chart", "data-key": id },
    h("figcaption", null, h("span", { class: "name" }, name), moment, h("span", { class: "legend" }, legend)),
    drawing,
    numbers(name, at, lines, format),
  );
}

function summary(name, at, lines, format, span) {
  if (!at.length) return `${name}: nothing yet`;
  const told = lines.map((line) => {
    const values = line.values.filter((value) => value !== null);
    if (!values.length) return `${line.name} none`;
    return `${line.name} now ${format(line.values.at(-1))}, highest ${format(Math.max(...values))}`;
  });
  return `${name}, last ${Math.round(span / 60)} minutes: ${told.join("; ")}`;
}

function grid(floor, high, format, y, width) {
  return [0, 0.5, 1].map((part) => {
    const value = floor + (high - floor) * part;
    return [
      s("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
    ];
  });
}

function hours(end, span, x) {
  return [0, 1, 2, 3].map((part) => {
    const moment = end - span * (1 - part / 3);
    const anchor = part === 0 ? "start" : part === 3 ? "end" : "middle";
    return s("text", { class: "tick", x: x(moment), y: HEIGHT - 5, "text-anchor": anchor }, clock(moment, { seconds: false }));
  });
}

function path(line, at, x, y) {
  let drawn = "";
  let pen = false;
  line.values.forEach((value, index) => {
    if (value === null) {
      pen = false;
      return;
    }
    drawn += `${pen ? "L" : "M"}${x(at[index]).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single value is a dot, not nothing.
    if (!pen && (index + 1 === line.values.length || line.values[index + 1] === null)) drawn += "h0.1";
    pen = true;
  });
  return s("path", { class: `line ${line.kind}`, d: drawn || null });
}

function numbers(name, at, lines, format) {
  const rows = [];
  for (let index = at.length - 1; index >= 0 && rows.length < 15; index -= 6) rows.push(index);
  if (!rows.length) return null;
  return h(
    "details",
    { class: "numbers" },
    h("summary", null, "Numbers"),
    h(
      "table",
      null,
      h("caption", { class: "unseen" }, `${name}, each minute`),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Time"), lines.map((line) => h("th", { scope: "col", class: "num" }, line.name)))),
      h(
        "tbody",
        null,
        rows.map((index) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, clock(at[index])),
            lines.map((line) => h("td", { class: "num" }, format(line.values[index]))),
          ),
        ),
      ),
    ),
  );
}

/** The index of the sample nearest to a pointer over `drawing`. */
export function pointed(drawing, event, at) {
  const box = drawing.getBoundingClientRect();
  const { left, width, end, span } = drawing.dataset;
  const scale = box.width / drawing.viewBox.baseVal.width;
  const share = (event.clientX - box.left - Number(left) * scale) / (Number(width) * scale);
  const moment = Number(end) - Number(span) * (1 - share);
  let nearest = 0;
  for (let index = 1; index < at.length; index += 1) {
    if (Math.abs(at[index] - moment) < Math.abs(at[nearest] - moment)) nearest = index;
  }
  return nearest;
}
