// The page: what was chosen goes to the server, what it says goes on the screen.

import { CHANGES, noise, paint, resize } from "./images.js";
import { lines, LINES, numbers } from "./plots.js";
import { ask, describe, infer, models, Trouble } from "./server.js";
import { FOREIGN, short, uncertainty, UNKNOWN, VIEWS } from "./views.js";

const MOST_BYTES = 20e6;
const KINDS = ["image/png", "image/jpeg"];

const the = (id) => document.getElementById(id);

let model = null;
let classNames = [];
// {caption, image} as chosen, before the slider.
let chosen = null;
// {name, bitmap} of the person's own.
let upload = null;
let change = "rotate";
// The images along the slider, and what the server said of them.
let steps = [];
let mark = () => {};
// The last requests: an answer to an earlier one is dropped.
let sweeping = new AbortController();
let looking = new AbortController();

const nameOf = (place) =>
  classNames[place] ?? `${model.kind === "numbers" ? "target" : "class"} ${place}`;

/** Returns the outputs to ask for, with those that only some models have. */
function outputs(...names) {
  if (!model.rejection) return names;
  const score = model.rejection.score === FOREIGN ? [FOREIGN] : [];
  return [...names, "rejected", ...score];
}

// What went wrong in which part of the work, until that part goes well.
const troubles = new Map();
let running = 0;

/** Runs a part of the page's work, "look" say; what goes wrong is shown in words. */
async function work(part, run) {
  running += 1;
  document.body.setAttribute("aria-busy", "true");
  try {
    await run();
    troubles.delete(part);
  } catch (error) {
    // A later request took its place.
    if (error.name === "AbortError") return;
    const expected = error instanceof Trouble;
    if (!expected) console.error(error);
    troubles.set(part, expected ? error.message : `The page failed: ${error.message}`);
  } finally {
    running -= 1;
    document.body.setAttribute("aria-busy", String(running > 0));
  }
  the("message").textContent = [...new Set(troubles.values())].join(" ");
  the("error").hidden = !troubles.size;
  // What these show would be of an earlier image, or nothing.
  const begun = chosen !== null;
  the("prediction").hidden = the("uncertainty").hidden = !begun || troubles.has("look");
  const swept = model && VIEWS[model.kind].alongSlider;
  the("sweep").hidden = !begun || !swept || troubles.has("sweep");
}

/** Shows the image at the slider's place, and asks for its members. */
async function look() {
  const place = Number(the("slider").value);
  const { title, write, values } = CHANGES[change];
  const value = write(values[place]);
  the("value").textContent = value;
  the("slider").setAttribute("aria-valuetext", value);
  paint(the("seen"), steps[place]);
  the("seen").setAttribute("aria-label", `${chosen.caption}, ${title} ${value}`);
  mark(place);
  looking.abort();
  looking = new AbortController();
  const view = VIEWS[model.kind];
  const found = await infer(
    model,
    [steps[place]],
    [...outputs(...view.outputs), ...(model.conformal ? view.promised : [])],
    looking.signal,
  );
  const context = { nameOf, rejection: model.rejection, image: steps[place] };
  const { verdict, reason = "", rejected = false } = view.show(found, context);
  the("verdict").textContent = verdict;
  the("reason").textContent = reason;
  the("reason").hidden = !reason;
  the("promise").hidden = !model.conformal;
  if (model.conformal)
    the("promise").textContent = view.promise(found, model.conformal.alpha, nameOf);
  the("prediction").classList.toggle("rejected", rejected);
  the("drawn").textContent = `: the average of ${found.members[0].length} networks`;
  const most = view.most(found);
  const parts = uncertainty(view, found);
  the("most").textContent = most.toFixed(2);
  const digits = (value) => (view.unit === "nats" ? value.toFixed(3) : short(value));
  for (const name of LINES) the(name).textContent = digits(parts[name]);
  const [aleatoric, epistemic] = the("split").querySelectorAll(
    ".aleatoric, .epistemic",
  );
  const share = (name) => (100 * parts[name]) / most;
  aleatoric.setAttribute("width", share("aleatoric"));
  epistemic.setAttribute("x", share("aleatoric"));
  epistemic.setAttribute("width", share("epistemic"));
}

/** Asks for the image at all places of the slider, in one request. */
async function sweep() {
  const { title, values, write } = CHANGES[change];
  mark = () => {};
  sweeping.abort();
  sweeping = new AbortController();
  const view = VIEWS[model.kind];
  if (!view.alongSlider) return;
  const names = outputs(...view.alongSlider);
  const found = await infer(model, steps, names, sweeping.signal);
  const isUnknown = (i) => [found.rejected?.[i]].flat(Infinity).every(Boolean);
  const points = values.map((value, i) => ({
    value,
    said: isUnknown(i) ? UNKNOWN : view.said(found, i, nameOf),
    ...uncertainty(view, found, i),
  }));
  show = () => {
    mark = lines(the("lines"), points, model.rejection, write, title, view.unit);
    mark(Number(the("slider").value));
  };
  the("sweep").hidden = false;
  show();
  the("numbers-change").textContent = title;
  numbers(the("numbers").tBodies[0], points, write);
}

/** Makes the images along the slider, and asks for all that is shown of them. */
function begin() {
  const { title, values, apply } = CHANGES[change];
  steps = values.map((value) => apply(chosen.image, value));
  the("chosen").textContent = chosen.caption;
  the("change").textContent = title;
  the("slider").max = values.length - 1;
  work("look", look);
  work("sweep", sweep);
}

// Draws the lines again, when the page has another width.
let show = () => {};

/** Shows an image, the slider at its beginning. */
function choose(caption, image) {
  chosen = { caption, image };
  the("slider").value = 0;
  begin();
}

/** Adds an image to those to choose from. */
function offer(caption, image) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "image",
  });
  const canvas = document.createElement("canvas");
  paint(canvas, image);
  const text = Object.assign(document.createElement("span"), {
    className: "unseen",
    textContent: caption,
  });
  label.title = caption;
  label.append(radio, canvas, text);
  radio.addEventListener("change", () => work("choose", () => choose(caption, image)));
  the("images").append(label);
  return radio;
}

/** Returns an image of the examples, in the size that the model takes. */
function example({ height, width, channels, pixels }, size) {
  const bytes = Uint8ClampedArray.from(atob(pixels), (letter) => letter.charCodeAt(0));
  const image = { height, width, channels, pixels: bytes };
  if (["height", "width", "channels"].every((axis) => image[axis] === size[axis]))
    return image;
  const canvas = document.createElement("canvas");
  paint(canvas, image);
  return resize(canvas, size);
}

/** Reads a file as an image of the model's size; refuses others in words. */
async function read(file) {
  if (!KINDS.includes(file.type))
    throw new Trouble(`"${file.name}" is neither PNG nor JPEG.`);
  if (file.size > MOST_BYTES)
    throw new Trouble(`"${file.name}" is larger than ${MOST_BYTES / 1e6} MB.`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Trouble(`"${file.name}" cannot be read as an image: it may be damaged.`);
  }
  return { name: file.name, bitmap };
}

function chooseUpload() {
  for (const radio of the("images").querySelectorAll("input")) radio.checked = false;
  const image = resize(upload.bitmap, model.size, the("invert").checked);
  choose(upload.name, image);
}

function offerChanges() {
  for (const [name, { title }] of Object.entries(CHANGES)) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), {
      type: "radio",
      name: "change",
      value: name,
      checked: name === change,
    });
    radio.addEventListener("change", () => {
      change = name;
      the("slider").value = 0;
      if (chosen) work("choose", begin);
    });
    label.append(radio, ` ${title}`);
    the("changes").append(label);
  }
}

async function start() {
  const [name] = await models();
  if (name === undefined) throw new Trouble("The server has no model that is ready.");
  model = await describe(name);
  classNames = model.classNames ?? [];
  const view = VIEWS[model.kind];
  for (const panel of document.querySelectorAll(".panel"))
    panel.hidden = !view.panels.includes(panel.id);
  for (const unit of document.querySelectorAll(".unit-of")) unit.textContent = view.unit;
  the("scale").hidden = !view.mostWords;
  the("most-words").textContent = view.mostWords ?? "";
  const words = { labels: "boxes: the labels that are there, or unknown" };
  the("boxes").textContent = words[model.kind] ?? the("boxes").textContent;
  the("boxes").hidden = model.kind === "numbers";
  if (model.kind === "pictures") the("first-layer").textContent = "The picture";
  if (["numbers", "pictures"].includes(model.kind))
    document.querySelector("h1").textContent = document.title =
      "What a Bayesian regression knows, and what it does not";
  the("threshold").hidden = !LINES.includes(model.rejection?.score);
  the("model").textContent = name;
  const examples = await ask("examples.json");
  the("images").replaceChildren();
  const radios = examples.map((entry) => offer(entry.name, example(entry, model.size)));
  offer("noise alone", noise(model.size, 2));
  radios[0].click();
}

the("slider").addEventListener("input", () => chosen && work("look", look));
the("again").addEventListener("click", () =>
  chosen ? work("choose", begin) : work("start", start),
);
the("invert").addEventListener("change", () => {
  const example = document.querySelector("#images :checked");
  if (upload && !example) work("choose", chooseUpload);
});
the("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (!file || !model) return;
  work("choose", async () => {
    upload = await read(file);
    chooseUpload();
  });
});
window.addEventListener("resize", () => show());
offerChanges();
work("start", start);
