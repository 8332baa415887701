// What the page says of each kind of model: classes, maps, labels, numbers, pictures.
//
// A view knows which outputs it asks for, what they say in words, and how uncertain an
// image is: one number for each part, the mean over pixels, labels or targets.

import { bars, cell, draw, percent } from "./plots.js";

export const UNKNOWN = "unknown";
export const PARTS = ["total", "aleatoric", "epistemic"];
// The score of a model that was exported with a scorer of foreign inputs.
export const FOREIGN = "foreign";
// Half the width of central intervals of a normal, in standard deviations.
const BANDS = [
  { level: "90 %", half: 1.6448536 },
  { level: "50 %", half: 0.6744898 },
];
const LABEL_MOST = Math.log(2);

/** Returns the kind of a model with such outputs, null for what has no view. */
export function kindOf(outputs) {
  const axes = (name) =>
    outputs.find((output) => output.name === name)?.shape.length ?? 0;
  if (!axes("members")) return null;
  if (axes("mean") && axes("variance")) {
    const channels = outputs.find((output) => output.name === "mean").shape.at(-1);
    if (axes("mean") === 4 && [1, 3].includes(channels)) return "pictures";
    return axes("mean") <= 2 ? "numbers" : null;
  }
  if (axes("label") && axes("probabilities") === 2) return "labels";
  if (axes("probabilities") === 2) return "classes";
  if (axes("probabilities") === 4) return "maps";
  return null;
}

const the = (id) => document.getElementById(id);
const flat = (value) => [value].flat(Infinity);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const mostOf = (probabilities) => Math.log(probabilities.length);

/** Returns a number in three digits, as a person writes it. */
export function short(value) {
  return value === 0 ? "0" : String(+value.toPrecision(3));
}

/** Returns what an output says of one image as a list. */
const listed = (found, name, place = 0) => flat(found[name][place]);

/** Returns how uncertain an image is, by its parts. */
export function uncertainty(view, found, place = 0) {
  return Object.fromEntries(
    PARTS.map((part) => [part, mean(listed(found, view.outputOf(part), place))]),
  );
}

/** Returns in words how often a promise is kept, as far as the model says it. */
function often(alpha) {
  return alpha === undefined ? " as often as was asked" : ` for ${percent(1 - alpha)} of images`;
}

/** Returns in words why an image has no answer. */
function reason({ score, threshold }, found, confidence, unit) {
  if (score === "confidence")
    return (
      `Not sure enough: a probability of ${percent(confidence)} is below ` +
      `${percent(1 - threshold)}.`
    );
  if (score === FOREIGN)
    return (
      `Not like what it was trained on: a score of ${found.foreign[0].toFixed(3)} > ` +
      `threshold ${threshold.toFixed(3)}.`
    );
  if (!PARTS.includes(score)) return "Not sure enough.";
  const value = found[unit === "nats" ? score : numbers.outputOf(score)];
  return (
    `Not sure enough: ${score} uncertainty ${flat(value)[0].toFixed(3)} ${unit} > ` +
    `threshold ${threshold.toFixed(3)}.`
  );
}

const classes = {
  outputs: ["probabilities", "class", "members", ...PARTS],
  alongSlider: ["class", ...PARTS],
  outputOf: (part) => part,
  unit: "nats",
  most: (found) => mostOf(found.probabilities[0]),
  mostWords: "all classes equally likely",
  panels: ["bars"],
  promised: ["sets"],

  said: (found, place, nameOf) => nameOf(found.class[place]),

  /** Returns in words what is promised of an image. */
  promise(found, alpha, nameOf) {
    const held = found.sets[0].flatMap((isHeld, i) => (isHeld ? [nameOf(i)] : []));
    return held.length
      ? `Not to be ruled out: ${held.join(", ")}. Such sets hold the right class${often(alpha)}.`
      : "Every class is ruled out: it is like none of the images that the rule was " +
          "chosen on.";
  },

  show(found, { nameOf, rejection }) {
    const [probabilities, best] = [found.probabilities[0], found.class[0]];
    const answer = `${nameOf(best)}, ${percent(probabilities[best])}`;
    const rejected = Boolean(found.rejected?.[0]);
    bars(the("bars").tBodies[0], nameOf, probabilities, found.members[0], [best]);
    if (!rejected) return { verdict: answer };
    const why = reason(rejection, found, probabilities[best], "nats");
    return {
      verdict: UNKNOWN,
      rejected,
      reason: `${why} Of the classes it knows, the likeliest would be ${answer}.`,
    };
  },
};

const labels = {
  ...classes,
  outputs: ["probabilities", "label", "members", ...PARTS],
  alongSlider: ["label", ...PARTS],
  promised: [],
  most: () => LABEL_MOST,
  mostWords: "as likely there as not",

  said: (found, place, nameOf) =>
    there(found.label[place], null, nameOf) +
    (flat(found.rejected?.[place] ?? []).includes(true) ? ", some unknown" : ""),

  show(found, { nameOf, rejection }) {
    const [probabilities, members] = [found.probabilities[0], found.members[0]];
    const rejected = flat(found.rejected?.[0] ?? []);
    const at = found.label[0].flatMap((value, i) => (value && !rejected[i] ? [i] : []));
    const named = (i) => (rejected[i] ? `${nameOf(i)} (${UNKNOWN})` : nameOf(i));
    bars(the("bars").tBodies[0], named, probabilities, members, at);
    const unknown = probabilities.flatMap((_, i) => (rejected[i] ? [nameOf(i)] : []));
    return {
      verdict: there(found.label[0], rejected, nameOf),
      rejected: unknown.length === probabilities.length,
      reason: unknown.length
        ? `Unknown: ${unknown.join(", ")}. ${limit(rejection, "nats")}`
        : "",
    };
  },
};

/** Returns the names of the labels that are there. */
function there(label, rejected, nameOf) {
  if (rejected?.length && rejected.every(Boolean)) return UNKNOWN;
  const found = label.flatMap((value, i) =>
    value && !rejected?.[i] ? [nameOf(i)] : [],
  );
  return found.length ? found.join(", ") : "no label";
}

/** Returns in words from where on a part of an image is unknown. */
function limit({ score, threshold }, unit) {
  if (score === "confidence")
    return `A probability below ${percent(1 - threshold)} is not sure enough.`;
  if (!PARTS.includes(score)) return "";
  const named = score[0].toUpperCase() + score.slice(1);
  return `${named} uncertainty above ${threshold.toFixed(3)} ${unit} is not sure enough.`;
}

const numbers = {
  outputs: ["mean", "variance", "members", "aleatoric", "epistemic"],
  alongSlider: ["mean", "variance", "aleatoric", "epistemic"],
  outputOf: (part) => (part === "total" ? "variance" : part),
  unit: "squared units",
  most: (found) => mean(listed(found, "variance")) || 1,
  panels: ["intervals"],
  promised: ["lower", "upper"],

  promise(found, alpha, nameOf) {
    const [lower, upper] = [listed(found, "lower"), listed(found, "upper")];
    const each = lower.map((low, i) => {
      const name = lower.length > 1 ? `${nameOf(i)} ` : "";
      return `${name}${short(low)} to ${short(upper[i])}`;
    });
    return `${each.join("; ")}: such intervals hold the truth${often(alpha)}.`;
  },

  said: (found, place) => listed(found, "mean", place).slice(0, 2).map(short).join(", "),

  show(found, { nameOf, rejection }) {
    const [means, variances] = [listed(found, "mean"), listed(found, "variance")];
    const rejected = flat(found.rejected?.[0] ?? []);
    // What each network says: its mean, if the model gives those.
    const members = found.members[0].map(flat);
    const dots = members.every((member) => member.length === means.length)
      ? members
      : [];
    intervals(the("intervals"), means, variances, dots, rejected, nameOf);
    const all = means.map((value, i) => `${short(value)} ± ${short(Math.sqrt(variances[i]))}`);
    const unknown = rejected.length > 0 && rejected.every(Boolean);
    if (!rejected.includes(true)) return { verdict: all.slice(0, 3).join("; ") };
    const why =
      means.length === 1
        ? `${reason(rejection, found, 0, this.unit)} It would be ${all[0]}.`
        : `${rejected.filter(Boolean).length} of ${means.length} are unknown. ` +
          limit(rejection, this.unit);
    return { verdict: unknown ? UNKNOWN : all.join("; "), rejected: unknown, reason: why };
  },
};

/** Draws for each number its intervals of 50 % and 90 %, its mean, and each network. */
function intervals(parent, means, variances, members, rejected, nameOf) {
  const list = parent.querySelector("ol");
  list.replaceChildren();
  const reach = means.map((value, i) => {
    const half = BANDS[0].half * Math.sqrt(variances[i]);
    const each = members.map((member) => member[i]);
    return [Math.min(value - half, ...each), Math.max(value + half, ...each)];
  });
  const [low, high] = [
    Math.min(...reach.map(([x]) => x)),
    Math.max(...reach.map(([, x]) => x)),
  ];
  const room = 0.06 * (high - low || 1);
  const at = (value) => (100 * (value - low + room)) / (high - low + 2 * room);
  means.forEach((value, i) => {
    const std = Math.sqrt(variances[i]);
    const item = list.appendChild(document.createElement("li"));
    item.classList.toggle("unknown", Boolean(rejected[i]));
    const name = means.length > 1 ? `${nameOf(i)}: ` : "";
    const ends = ({ half }) => `${short(value - half * std)} to ${short(value + half * std)}`;
    const text = item.appendChild(document.createElement("p"));
    text.textContent =
      `${name}${rejected[i] ? `${UNKNOWN}, would be ` : ""}${short(value)}; ` +
      `50 %: ${ends(BANDS[1])}; 90 %: ${ends(BANDS[0])}`;
    const svg = draw(item, "svg", { class: "track", "aria-hidden": "true" });
    draw(svg, "rect", { class: "ground", width: "100%", height: "100%" });
    for (const { level, half } of BANDS) {
      const [left, right] = [at(value - half * std), at(value + half * std)];
      draw(svg, "rect", {
        class: `band ${level === "50 %" ? "half" : "most"}`,
        x: `${left}%`,
        width: `${Math.max(right - left, 0.2)}%`,
        height: "100%",
      });
    }
    members.forEach((member, j) =>
      draw(svg, "circle", {
        class: "member",
        cx: `${at(member[i])}%`,
        cy: `${50 + 28 * Math.sin(2.4 * j)}%`,
        r: 2.6,
      }),
    );
    const x = `${at(value)}%`;
    draw(svg, "line", { class: "middle", x1: x, x2: x, y1: "0%", y2: "100%" });
  });
}

// --- Maps.

const COLORS = ["#0072b2", "#d55e00", "#009e73", "#8c8c8c", "#e69f00", "#56b4e9"];

/** Returns the colour of a class, [red, green, blue]. */
function colorOf(place) {
  if (place < COLORS.length)
    return [1, 3, 5].map((i) => parseInt(COLORS[place].slice(i, i + 2), 16));
  const hue = (137.5 * place) % 360;
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return 255 * (0.5 - 0.35 * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
  };
  return [0, 8, 4].map(part);
}

/** Returns a colour of a ramp from black over red to light yellow, 0 to 1. */
function heat(share) {
  const x = Math.max(0, Math.min(1, share));
  return [255 * Math.min(1, 2 * x), 255 * Math.max(0, 1.7 * x - 0.6), 200 * x ** 3];
}

const maps = {
  ...classes,
  promised: [],
  outputs: ["probabilities", "class", "members", ...PARTS],
  alongSlider: null, // as many numbers as all pixels of all images
  most: (found) => mostOf(found.probabilities[0][0][0]),
  panels: ["map"],

  show(found, { nameOf, rejection, image }) {
    const fixed = PARTS.includes(rejection?.score) ? rejection : null;
    const cut = the("cut");
    const most = this.most(found);
    // A model's own rule is where the slider begins.
    if (cut.max !== String(most)) {
      [cut.max, cut.step] = [most, most / 100];
      cut.value = fixed ? fixed.threshold : most;
      the("score").value = fixed?.score ?? "total";
    }
    const shown = drawMap(found, nameOf, image);
    the("layer-form").onchange = the("layer-form").oninput = () =>
      drawMap(found, nameOf, image);
    return {
      verdict: shown.verdict,
      rejected: shown.unknown === 1,
      reason: "",
    };
  },
};

/** Returns what the controls beside a map say, and writes their values beside them. */
function controls(unit) {
  const [strength, cut] = [Number(the("strength").value) / 100, Number(the("cut").value)];
  // The largest threshold lets everything through, whatever was rounded.
  const open = cut >= Number(the("cut").max) * 0.999;
  the("cut-value").textContent = open ? "none" : `${cut.toFixed(2)}${unit}`;
  the("strength-value").textContent = `${Math.round(100 * strength)} %`;
  const layer = document.querySelector("[name=layer]:checked").value;
  return { layer, strength, score: the("score").value, cut: open ? Infinity : cut };
}

/** Returns the pattern of what is unknown. */
const checks = (row, column) => ((row + column) % 2 ? [0, 0, 0] : [255, 255, 255]);

/** Paints the map: of each pixel `under(row, column)`, and with a strength `over`. */
function paintMap(height, width, under, over, strength) {
  const canvas = the("map-canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const data = context.createImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [below, above] = [under(row, column), over(row, column)];
      const start = 4 * (row * width + column);
      for (let channel = 0; channel < 3; channel++)
        data.data[start + channel] =
          (1 - strength) * below[channel] + strength * above[channel];
      data.data[start + 3] = 255;
    }
  }
  context.putImageData(data, 0, 0);
  return canvas;
}

/** Paints the map as the controls beside it say, and lists the classes. */
function drawMap(found, nameOf, image) {
  const grid = found.class[0];
  const [height, width] = [grid.length, grid[0].length];
  const most = mostOf(found.probabilities[0][0][0]);
  const { layer, strength, score, cut } = controls(" nats");
  const counts = new Map();
  let unknown = 0;
  const over = (row, column) => {
    const place = grid[row][column];
    const isUnknown = found[score][0][row][column] > cut;
    if (isUnknown) unknown += 1;
    else counts.set(place, (counts.get(place) ?? 0) + 1);
    if (layer !== "class") return heat(found[layer][0][row][column] / most);
    return isUnknown ? checks(row, column) : colorOf(place);
  };
  const under = (row, column) => {
    // The image may be larger than the map.
    const at =
      Math.floor((row * image.height) / height) * image.width +
      Math.floor((column * image.width) / width);
    const first = at * image.channels;
    return [0, 1, 2].map((i) => image.pixels[first + (image.channels === 3 ? i : 0)]);
  };
  const canvas = paintMap(height, width, under, over, strength);
  const shares = [...counts].sort((a, b) => b[1] - a[1]);
  const said = shares.map(([place, count]) => [
    nameOf(place),
    count / (height * width),
    `rgb(${colorOf(place).map(Math.round)})`,
  ]);
  if (unknown) said.push([UNKNOWN, unknown / (height * width), null]);
  const list = the("shares");
  list.replaceChildren();
  for (const [name, share, color] of said) {
    const item = list.appendChild(document.createElement("li"));
    const swatch = draw(item, "svg", { class: "key", "aria-hidden": "true" });
    const look = color ? { fill: color } : { class: "checks" };
    draw(swatch, "rect", { width: "100%", height: "100%", ...look });
    item.append(` ${name} ${percent(share)}`);
  }
  const verdict = said
    .slice(0, 3)
    .map(([name, share]) => `${name} ${Math.round(100 * share)} %`)
    .join(", ");
  canvas.setAttribute("aria-label", `Map of ${layer}: ${verdict}`);
  the("verdict").textContent = verdict;
  return { verdict, unknown: unknown / (height * width) };
}

// --- Pictures: of each pixel a mean from 0 to 1, and its variance.

const pictures = {
  ...numbers,
  promised: [],
  alongSlider: null, // as many numbers as all pixels of all images
  panels: ["map"],

  show(found, { rejection }) {
    const [cut, most] = [the("cut"), largestDeviation(found)];
    if (cut.max !== String(most)) {
      [cut.max, cut.step] = [most, most / 100];
      const fixed = PARTS.includes(rejection?.score);
      cut.value = fixed ? Math.sqrt(rejection.threshold) : most;
      the("score").value = fixed ? rejection.score : "total";
    }
    the("layer-form").onchange = the("layer-form").oninput = () => drawPicture(found);
    return drawPicture(found);
  },
};

/** Returns standard deviations of the colours of a pixel, by a part of the variance. */
function deviation(found, part, row, column) {
  return Math.sqrt(mean(found[numbers.outputOf(part)][0][row][column]));
}

function largestDeviation(found) {
  return Math.max(...found.variance[0].flat().map((pixel) => Math.sqrt(mean(pixel)))) || 1;
}

/** Paints the picture as the controls beside it say. */
function drawPicture(found) {
  const grid = found.mean[0];
  const [height, width] = [grid.length, grid[0].length];
  const most = largestDeviation(found);
  const { layer, strength, score, cut } = controls("");
  let unknown = 0;
  const under = (row, column) => {
    const pixel = grid[row][column];
    return [0, 1, 2].map((i) => 255 * Math.min(1, Math.max(0, pixel[i] ?? pixel[0])));
  };
  const over = (row, column) => {
    const isUnknown = deviation(found, score, row, column) > cut;
    if (isUnknown) unknown += 1;
    if (layer !== "class") return heat(deviation(found, layer, row, column) / most);
    return isUnknown ? checks(row, column) : under(row, column);
  };
  const canvas = paintMap(height, width, under, over, strength);
  const share = unknown / (height * width);
  const verdict =
    `${width} × ${height}, ± ${short(Math.sqrt(mean(flat(found.variance[0]))))}` +
    (share ? `, ${UNKNOWN} ${percent(share)}` : "");
  canvas.setAttribute("aria-label", `Picture, ${layer}: ${verdict}`);
  the("shares").replaceChildren();
  return { verdict, rejected: share === 1 };
}

/** Kind of a model -> what the page says of it. */
export const VIEWS = { classes, labels, numbers, maps, pictures };
