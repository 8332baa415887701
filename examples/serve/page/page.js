// The page: what was chosen goes to the server, what it says goes on the screen.

import { CHANGES, noise, paint, resize } from "./images.js";
import { bars, lines, LINES, numbers, percent } from "./plots.js";
import { describe, infer, models, Trouble } from "./server.js";

const MOST_BYTES = 20e6;
const KINDS = ["image/png", "image/jpeg"];

const the = (id) => document.getElementById(id);

let model = null;
let classNames = [];
// {caption, image} as chosen, before the slider.
let chosen = null;
let upload = null;
let change = "rotate";
// The images along the slider, and what the server said of them.
let steps = [];
let mark = () => {};
// The last requests: an answer to an earlier one is dropped.
let sweeping = new AbortController();
let looking = new AbortController();

const nameOf = (place) => classNames[place] ?? `class ${place}`;

/** Runs a part of the page's work; what goes wrong is shown in words. */
async function work(part) {
  try {
    await part();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Trouble)) console.error(error);
    the("message").textContent = error instanceof Trouble ? error.message : `The page failed: ${error.message}`;
    the("error").hidden = false;
    document.body.classList.add("failed");
  }
}

function succeeded() {
  the("error").hidden = true;
  document.body.classList.remove("failed");
}

/** Shows the image at the slider's place, and asks for its members. */
async function look() {
  const place = Number(the("slider").value);
  const { write, values } = CHANGES[change];
  the("value").textContent = write(values[place]);
  the("slider").setAttribute("aria-valuetext", write(values[place]));
  paint(the("seen"), steps[place]);
  the("seen").setAttribute("aria-label", `${chosen.caption}, ${CHANGES[change].title} ${write(values[place])}`);
  mark(place);
  looking.abort();
  looking = new AbortController();
  const names = ["probabilities", "class", "members", ...LINES];
  const found = await infer(model, [steps[place]], names, looking.signal);
  const [probabilities, best] = [found.probabilities[0], found.class[0]];
  classNames = probabilities.map((_, i) => nameOf(i));
  the("verdict").textContent = `${nameOf(best)}, ${percent(probabilities[best])}`;
  bars(the("bars").tBodies[0], classNames, probabilities, found.members[0], best);
  the("drawn").textContent = `: ${found.members[0].length} networks, drawn from a posterior`;
  const most = Math.log(probabilities.length);
  the("most").textContent = most.toFixed(2);
  for (const name of LINES) the(name).textContent = found[name][0].toFixed(3);
  const [aleatoric, epistemic] = the("split").querySelectorAll(".aleatoric, .epistemic");
  const share = (name) => (100 * found[name][0]) / most;
  aleatoric.setAttribute("width", share("aleatoric"));
  epistemic.setAttribute("x", share("aleatoric"));
  epistemic.setAttribute("width", share("epistemic"));
  succeeded();
}

/** Asks for the image at all places of the slider, in one request. */
async function sweep() {
  const { title, values, write, apply } = CHANGES[change];
  steps = values.map((value) => apply(chosen.image, value));
  mark = () => {};
  the("chosen").textContent = chosen.caption;
  the("change").textContent = title;
  the("slider").max = values.length - 1;
  sweeping.abort();
  sweeping = new AbortController();
  const along = async () => {
    const found = await infer(model, steps, ["class", ...LINES], sweeping.signal);
    const points = values.map((value, i) => ({
      value,
      class: found.class[i],
      ...Object.fromEntries(LINES.map((name) => [name, found[name][i]])),
    }));
    const names = found.class.reduce((all, i) => ({ ...all, [i]: nameOf(i) }), {});
    show = () => {
      mark = lines(the("lines"), points, names, write, title);
      mark(Number(the("slider").value));
    };
    show();
    the("numbers-change").textContent = title;
    numbers(the("numbers").tBodies[0], points, names, write);
  };
  await Promise.all([look(), along()]);
}

// Draws the lines again, when the page has another width.
let show = () => {};

function choose(caption, image) {
  chosen = { caption, image };
  the("slider").value = 0;
  return sweep();
}

/** Adds an image to those to choose from. */
function offer(caption, image) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "image" });
  const canvas = document.createElement("canvas");
  paint(canvas, image);
  const text = Object.assign(document.createElement("span"), { className: "unseen", textContent: caption });
  label.title = caption;
  label.append(radio, canvas, text);
  radio.addEventListener("change", () => work(() => choose(caption, image)));
  the("images").append(label);
  return radio;
}

/** Returns an image of the examples, in the size that the model takes. */
function example({ height, width, channels, pixels }, size) {
  const bytes = Uint8ClampedArray.from(atob(pixels), (letter) => letter.charCodeAt(0));
  const image = { height, width, channels, pixels: bytes };
  if (["height", "width", "channels"].every((axis) => image[axis] === size[axis])) return image;
  const canvas = document.createElement("canvas");
  paint(canvas, image);
  return resize(canvas, size);
}

/** Reads a file as an image of the model's size; refuses others in words. */
async function read(file) {
  if (!KINDS.includes(file.type)) throw new Trouble(`"${file.name}" is neither PNG nor JPEG.`);
  if (file.size > MOST_BYTES) throw new Trouble(`"${file.name}" is larger than ${MOST_BYTES / 1e6} MB.`);
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
  return choose(upload.name, image);
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
      work(sweep);
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
  the("model").textContent = name;
  const examples = await (await fetch("examples.json")).json();
  the("images").replaceChildren();
  const radios = examples.map((entry) => offer(entry.name, example(entry, model.size)));
  offer("noise alone", noise(model.size, 2));
  radios[0].click();
}

the("slider").addEventListener("input", () => work(look));
the("again").addEventListener("click", () => work(chosen ? sweep : start));
the("invert").addEventListener("change", () => upload && work(chooseUpload));
the("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  work(async () => {
    upload = await read(file);
    await chooseUpload();
  });
});
window.addEventListener("resize", () => show());
offerChanges();
work(start);
