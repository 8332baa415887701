// The Open Inference Protocol, version 2, as far as the page needs it.

import { kindOf, VIEWS } from "./views.js";

/** An error whose message is for the person in front of the page. */
export class Trouble extends Error {}

/** Returns what an address answers, JSON; `body` makes it a POST. */
export async function ask(path, body, signal) {
  const options = { signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response, text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(
      "This page's server cannot be reached. Does serve_page.py still run?",
    );
  }
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = null;
  }
  if (response.ok && answer !== null) return answer;
  const said = answer?.error ?? answer?.detail ?? response.statusText;
  const reason = typeof said === "string" ? said : JSON.stringify(said);
  if (response.ok) throw new Trouble("The server gave an answer that is no JSON.");
  if (response.status < 500)
    throw new Trouble(`The server refused the request (${response.status}): ${reason}`);
  throw new Trouble(`The server failed (${response.status}): ${reason}`);
}

/** Returns the names of the models that are ready. */
export async function models() {
  const index = await ask("/v2/repository/index", {});
  return index.filter((entry) => entry.state === "READY").map((entry) => entry.name);
}

/** Returns a part of a model's description if it has an output, and null if not. */
function describedBy(name, part, outputs, description) {
  if (!outputs.some((output) => output.name === name)) return null;
  try {
    return JSON.parse(description)[part] ?? {};
  } catch {
    return {};
  }
}

/**
 * Returns a model's {name, kind, input, size, classNames, rejection, conformal}.
 *
 * The kind is a key of VIEWS. The last two are null for a model without the output
 * "rejected", or "sets" and "lower", and else {score, threshold} and {alpha}, as far as
 * the server says them. Refuses what takes no images, or gives nothing that there is a
 * view of.
 */
export async function describe(name) {
  const {
    inputs = [],
    outputs = [],
    parameters,
  } = await ask(`/v2/models/${encodeURIComponent(name)}`);
  const [input] = inputs;
  const [, height, width, channels] = input?.shape ?? [];
  const fits =
    inputs.length === 1 &&
    input.datatype === "UINT8" &&
    input.shape.length === 4 &&
    height > 0 &&
    width > 0 &&
    [1, 3].includes(channels);
  const kind = kindOf(outputs);
  const [promised] = VIEWS[kind]?.promised ?? [];
  if (!fits || kind === null) {
    throw new Trouble(
      `The model "${name}" does not take images of bytes, which this page is for, or ` +
        "gives nothing that it can show: export it with --bytes, and serve its " +
        "members beside classes, maps of classes, labels, or mean and variance, of " +
        "pictures in one or three colours.",
    );
  }
  return {
    name,
    kind,
    input: input.name,
    size: { height, width, channels },
    classNames: parameters?.class_names,
    rejection: describedBy("rejected", "rejection", outputs, parameters?.description),
    conformal: describedBy(promised, "conformal", outputs, parameters?.description),
  };
}

/**
 * Returns outputs of a model for images: {name: one entry for each image}.
 *
 * Numbers, or bools, for outputs of one axis, arrays for those of two, arrays of arrays
 * for three, and so on.
 */
export async function infer(model, images, names, signal) {
  const { height, width, channels } = model.size;
  const data = images.flatMap((image) => Array.from(image.pixels));
  const request = {
    inputs: [
      {
        name: model.input,
        datatype: "UINT8",
        shape: [images.length, height, width, channels],
        data,
      },
    ],
    outputs: names.map((name) => ({ name })),
  };
  const { outputs = [] } = await ask(
    `/v2/models/${encodeURIComponent(model.name)}/infer`,
    request,
    signal,
  );
  const found = {};
  for (const { name, shape, data: values } of outputs)
    found[name] = fold(values.flat(Infinity), shape.slice(1));
  const missing = names.filter((name) => found[name]?.length !== images.length);
  if (missing.length)
    throw new Trouble(`The server's answer lacks ${missing.join(", ")} of each image.`);
  return found;
}

function fold(values, shape) {
  if (!shape.length) return values;
  const size = shape.reduce((a, b) => a * b);
  const rows = Array.from({ length: values.length / size }, (_, i) =>
    values.slice(i * size, (i + 1) * size),
  );
  return rows.map((row) => fold(row, shape.slice(1)));
}
