// The plots: a table of bars with a dot for each network, and lines along the slider.

const SVG = "http://www.w3.org/2000/svg";

/** Returns an element of SVG with attributes, and text if given. */
export function draw(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes))
    element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

/** Appends a cell to a row, and returns it. */
export function cell(row, tag, text) {
  const element = document.createElement(tag);
  if (tag === "th") element.scope = "row";
  element.textContent = text;
  row.append(element);
  return element;
}

export const percent = (value) => `${(100 * value).toFixed(1)} %`;

/**
 * Fills a table's body: a row for each class.
 *
 * Args: nameOf, which names a class; probabilities, one for each; members, those of
 * each network, an array of arrays; best, the places that are in bold.
 */
export function bars(body, nameOf, probabilities, members, best) {
  body.replaceChildren();
  probabilities.forEach((probability, place) => {
    const row = body.insertRow();
    row.classList.toggle("best", best.includes(place));
    cell(row, "th", nameOf(place));
    const svg = draw(cell(row, "td", ""), "svg", {
      class: "track",
      "aria-hidden": "true",
    });
    draw(svg, "rect", { class: "ground", width: "100%", height: "100%" });
    draw(svg, "rect", { class: "bar", width: `${100 * probability}%`, height: "100%" });
    const each = members.map((member) => member[place]);
    each.forEach((value, i) => {
      // Up and down, so that networks that agree are still seen to be many.
      const height = 50 + 28 * Math.sin(2.4 * i);
      draw(svg, "circle", {
        class: "member",
        cx: `${100 * value}%`,
        cy: `${height}%`,
        r: 2.6,
      });
    });
    const number = cell(row, "td", percent(probability));
    const span = document.createElement("span");
    span.className = "unseen";
    span.textContent = `, from ${percent(Math.min(...each))} to ${percent(Math.max(...each))}`;
    number.append(span);
  });
}

export const LINES = ["total", "aleatoric", "epistemic"];
const MARGIN = { left: 40, right: 12, top: 10, bottom: 58 };
const HEIGHT = 240;
const STRIP = 20;

/** Returns a step that is 1, 2 or 5 times a power of ten, for about so many ticks. */
function niceStep(most, ticks) {
  const rough = most / ticks;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

/** Returns the runs of equal entries: [entry, first place, last place]. */
function runs(entries) {
  const found = [];
  entries.forEach((entry, place) => {
    const last = found.at(-1);
    if (last?.[0] === entry) last[2] = place;
    else found.push([entry, place, place]);
  });
  return found;
}

/**
 * Draws uncertainties and classes along the slider, and returns a function that
 * marks a place on it.
 *
 * Args: parent, which it fills; points, {value, said, total, aleatoric, epistemic}
 * each, of which `said` is the class or "unknown"; rejection, {score, threshold} or
 * null; write, how a value is written; title, of the slider; unit, of uncertainty.
 */
export function lines(parent, points, rejection, write, title, unit) {
  const width = Math.max(300, parent.clientWidth);
  // Room for small numbers beside the unit.
  const margin = { ...MARGIN, left: unit === "nats" ? MARGIN.left : 76 };
  const svg = draw(parent, "svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
  parent.replaceChildren(svg);
  const first = points[0];
  const highest = points.reduce((a, b) => (b.total > a.total ? b : a));
  const classes = runs(points.map((point) => point.said));
  const threshold = LINES.includes(rejection?.score) ? rejection.threshold : 0;
  draw(
    svg,
    "title",
    {},
    `${title}: total uncertainty ${first.total.toFixed(2)} ${unit} at ` +
      `${write(first.value)}, highest ${highest.total.toFixed(2)} ${unit} at ` +
      `${write(highest.value)}. Prediction: ` +
      classes
        .map(([label, start]) => `${label} from ${write(points[start].value)}`)
        .join(", ") +
      ".",
  );
  const floor = HEIGHT - margin.bottom;
  const most = Math.max(highest.total, threshold, unit === "nats" ? 0.1 : 1e-6);
  const step = niceStep(most, 4);
  const top = step * Math.ceil(most / step);
  const last = points.at(-1).value;
  const x = (value) =>
    margin.left + (value / last) * (width - margin.left - margin.right);
  const y = (value) => floor - (value / top) * (floor - margin.top);
  for (let tick = 0; tick <= top + step / 2; tick += step) {
    draw(svg, "line", {
      class: "grid",
      x1: margin.left,
      x2: width - margin.right,
      y1: y(tick),
      y2: y(tick),
    });
    draw(
      svg,
      "text",
      { x: margin.left - 6, y: y(tick) + 4, "text-anchor": "end" },
      +tick.toPrecision(3),
    );
  }
  draw(
    svg,
    "text",
    {
      class: "unit",
      x: 11,
      y: (floor + margin.top) / 2,
      transform: `rotate(-90 11 ${(floor + margin.top) / 2})`,
      "text-anchor": "middle",
    },
    unit,
  );
  const every = Math.ceil((points.length - 1) / (width < 500 ? 3 : 6));
  points.forEach(({ value }, place) => {
    if (place % every) return;
    const anchor = place === points.length - 1 ? "end" : "middle";
    draw(
      svg,
      "text",
      { x: x(value), y: HEIGHT - 4, "text-anchor": anchor },
      write(value),
    );
  });
  for (const name of LINES) {
    const path = points.map((point) => `${x(point.value)},${y(point[name])}`).join(" ");
    draw(svg, "polyline", { class: `line ${name}`, points: path });
  }
  if (threshold)
    draw(svg, "line", {
      class: `threshold ${rejection.score}`,
      x1: margin.left,
      x2: width - margin.right,
      y1: y(threshold),
      y2: y(threshold),
    });
  const half = x(points[1].value) - x(first.value);
  // Boxes of single points, as of numbers, would say nothing.
  const boxes = classes.length < points.length ? classes : [];
  boxes.forEach(([label, start, stop], place) => {
    const left = Math.max(margin.left, x(points[start].value) - half / 2);
    const right = Math.min(width - margin.right, x(points[stop].value) + half / 2);
    const group = draw(svg, "g", { class: place % 2 ? "class odd" : "class" });
    draw(group, "title", {}, label);
    draw(group, "rect", { x: left, y: floor + 14, width: right - left, height: STRIP });
    // About 7 units a letter; what does not fit is in the table and in the title.
    if (7 * label.length < right - left) {
      draw(
        group,
        "text",
        { x: (left + right) / 2, y: floor + 28, "text-anchor": "middle" },
        label,
      );
    }
  });
  const mark = draw(svg, "g", { class: "mark" });
  return (place) => {
    mark.replaceChildren();
    const point = points[place];
    draw(mark, "line", {
      x1: x(point.value),
      x2: x(point.value),
      y1: margin.top,
      y2: floor + 14 + STRIP,
    });
    for (const name of LINES) {
      draw(mark, "circle", {
        class: name,
        cx: x(point.value),
        cy: y(point[name]),
        r: 4,
      });
    }
  };
}

/** Fills a table's body with the numbers of `lines`. */
export function numbers(body, points, write) {
  body.replaceChildren();
  for (const point of points) {
    const row = body.insertRow();
    cell(row, "th", write(point.value));
    cell(row, "td", point.said);
    for (const name of LINES) cell(row, "td", point[name].toFixed(3));
  }
}
