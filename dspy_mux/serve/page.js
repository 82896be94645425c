"use strict";

const $ = id => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const show = (id, shown) => { $(id).hidden = !shown; };
const COLORS = 8;

let muxes = [];
let running = null;

// What models say is text, whatever it looks like: nothing here reads it as HTML.
const asText = value => typeof value === "string" ? value : JSON.stringify(value, null, 1);
const oneLine = value => asText(value ?? "").replace(/\s+/gu, " ").trim();
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/* The server. */

class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const key = $("key").value.trim();
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let reply;
  try {
    reply = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.", 0);
  }
  if (!reply.ok) throw await refusalOf(reply);
  return reply;
}

async function refusalOf(reply) {
  let message;
  try {
    message = (await reply.json()).error.message;
  } catch {
    message = null;
  }
  message = typeof message === "string" ? message : `The server answers ${reply.status}.`;
  const wait = reply.headers.get("retry-after");
  return new Refusal(wait ? `${message} Try again in ${wait} s.` : message, reply.status);
}

async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/u);
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { name: "message", data: [] };
      for (const line of block.split(/\r?\n/u)) {
        if (line.startsWith("event:")) event.name = line.slice(6).trim();
        if (line.startsWith("data:")) event.data.push(line.slice(5));
      }
      const data = event.data.join("\n").trim();
      if (data && data !== "[DONE]") yield { name: event.name, data: JSON.parse(data) };
    }
  }
}

/* The form. */

async function load() {
  try {
    muxes = (await (await request("/v1/mux")).json()).muxes;
    if (!muxes.length) throw new Refusal("This server has no mux.", 200);
  } catch (error) {
    muxes = [];
    if (error.status === 401) {
      const tried = $("key").value !== "";
      show("key-field", true);
      $("inputs").replaceChildren();
      $("send").textContent = "Use this key";
      problem(tried ? error.message : "", $("key"));
      $("key").focus();
      return;
    }
    problem(error.message);
    return;
  }
  problem("");
  $("send").textContent = "Ask";
  $("mux").replaceChildren(...muxes.map(mux => new Option(mux.name, mux.name)));
  show("mux-field", muxes.length > 1);
  choose();
}

const chosen = () => muxes.find(mux => mux.name === $("mux").value);

function choose() {
  const mux = chosen();
  const members = plural(mux.members.length, "member");
  $("mux-about").textContent =
    `${mux.name}: ${members}, ${plural(mux.k, "draw")} each, rule ${mux.rule}`;
  const inputs = mux.kind === "chat"
    ? [{ name: "Message", type: "str", required: true }]
    : mux.inputs;
  $("inputs").replaceChildren(...inputs.map(field));
}

function field(input, at) {
  const box = make("div", "field");
  const label = make("label", "", input.name);
  const control = controlFor(input);
  control.id = `input-${at}`;
  control.name = input.name;
  control.dataset.type = input.type;
  control.required = input.required !== false;
  label.htmlFor = control.id;
  if (!control.required) label.append(" ", make("span", "optional", "(optional)"));
  box.append(label, control);
  if (input.description) {
    const hint = make("p", "hint", input.description);
    hint.id = `hint-${at}`;
    control.setAttribute("aria-describedby", hint.id);
    box.append(hint);
  }
  return box;
}

function controlFor(input) {
  const choices = input.type === "bool" ? [true, false] : input.choices;
  if (choices) {
    const select = make("select");
    if (input.required === false) select.append(new Option("", ""));
    select.append(...choices.map(value => new Option(asText(value), JSON.stringify(value))));
    return select;
  }
  if (input.type === "int" || input.type === "float") {
    const number = make("input");
    number.type = "number";
    number.step = input.type === "int" ? "1" : "any";
    return number;
  }
  const text = make("textarea", input.type === "json" ? "code" : "");
  text.rows = 3;
  return text;
}

function valueOf(control) {
  if (control.validity.badInput || control.validity.stepMismatch) {
    throw new TypeError(`${control.name}: ${control.validationMessage}`);
  }
  if (control.value.trim() === "") {
    if (control.required) throw new TypeError(`${control.name}: please fill this in.`);
    return undefined;
  }
  if (control.dataset.type === "str" && control.tagName !== "SELECT") return control.value;
  try {
    return JSON.parse(control.value);
  } catch {
    throw new TypeError(`${control.name}: this is not JSON.`);
  }
}

function filledIn() {
  const values = {};
  for (const control of $("inputs").querySelectorAll("textarea, input, select")) {
    control.removeAttribute("aria-invalid");
    try {
      const value = valueOf(control);
      if (value !== undefined) values[control.name] = value;
    } catch (error) {
      problem(error.message, control);
      control.focus();
      return null;
    }
  }
  return values;
}

function problem(message, control) {
  $("problem").textContent = message;
  show("problem", message !== "");
  if (control && message) control.setAttribute("aria-invalid", "true");
  if (!message) $("key").removeAttribute("aria-invalid");
}

/* A question. */

async function ask() {
  const mux = chosen();
  if (running) return;
  if (!mux) return load();
  const values = filledIn();
  if (!values) return;
  problem("");
  running = new AbortController();
  busy(true);
  const board = new Board(mux);
  // On a phone the answer is below the form.
  if ($("result").getBoundingClientRect().top > innerHeight / 2) $("result").scrollIntoView();
  const began = performance.now();
  try {
    await follow(mux, values, board, began);
  } catch (error) {
    board.end();
    if (error.name === "AbortError") {
      say("Stopped: the draws that were under way are withdrawn.");
    } else {
      say("There is no answer.");
      if (error.status === 401) show("key-field", true);
      problem(error.message, error.status === 401 ? $("key") : null);
    }
  } finally {
    running = null;
    busy(false);
  }
}

async function follow(mux, values, board, began) {
  const reply = await request(`/v1/mux/${encodeURIComponent(mux.name)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      ...(mux.kind === "chat"
        ? { messages: [{ role: "user", content: values.Message }] }
        : { inputs: values }),
      stream: true,
    }),
    signal: running.signal,
  });
  for await (const { name, data } of events(reply)) {
    if (name === "draw") board.draw(data);
    if (name === "error") throw new Refusal(data.error.message, 200);
    if (name === "verdict") return board.decide(data, (performance.now() - began) / 1000);
  }
  throw new Refusal("The connection ended before the answer.", 0);
}

function busy(is) {
  show("stop", is);
  $("send").disabled = is;
  $("result").setAttribute("aria-busy", String(is));
}

function say(text) {
  $("status").textContent = text;
}
