// Buttons of an open result: previous, next, and the verdict with its note. Input goes to the queue of actions. Keys
// that are pressed while the next result is loaded wait until it is shown, so that a verdict is about the crop in view.
const KEYS = { ArrowLeft: "previous", ArrowRight: "next", y: "confirm", x: "reject", n: "not-sure", w: "withdraw" };
const NOTE_PAUSE_MS = 1200;
const drafts = new Map();
const timers = new Map();

export default function ({ data, parentElement, setStateValue }) {
  const bar = parentElement.querySelector(".bar");
  const draft = `${data.scope} ${data.crop}`;
  const note = makeNote();
  const isNoteFocused = parentElement.activeElement === note;
  const text = element("div", { className: "text", role: "status" });

  bar.replaceChildren(
    makeButton("previous", "Previous result", "←", "ArrowLeft", ""),
    makeButton("next", "Next result", "→", "ArrowRight", ""),
    element("span", { textContent: data.place }),
    ...data.buttons.map(({ name, label, key, mark }) => makeButton(name, label, key, key.toLowerCase(), mark)),
    ...(data.buttons.length ? [note] : []),
    text,
  );
  if (isNoteFocused) note.focus();
  // The bar of the result before this one may be ended later, and must not take a key until then.
  bar.end?.();
  const end = () => window.removeEventListener("vestigo-actions", update);
  bar.end = end;
  window.addEventListener("vestigo-actions", update);
  window.vestigoActions?.mount(data.scope, (actions) => setStateValue("actions", actions));
  window.vestigoActions?.settle(data.outcomes);
  update();
  return () => {
    end();
    if (bar.end === end) window.vestigoActions?.depart();
  };

  function update() {
    paint();
    window.vestigoActions?.arrive(data.crop, take);
  }

  function take(key) {
    const name = KEYS[key];
    if (name in data) move(name);
    else if (name) judge(name);
  }

  function state() {
    const entry = window.vestigoActions?.latest(data.scope, data.crop);
    const isShown = !entry || (entry.state === "saved" && entry.before !== data.text);
    return isShown || entry.state === "failed" ? { mark: data.mark, entry: isShown ? undefined : entry } : { ...entry, entry };
  }

  function paint() {
    const { mark, entry } = state();
    for (const button of bar.querySelectorAll("button[data-mark]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mark !== "" && button.dataset.mark === mark));
      if (button.dataset.mark === "") button.disabled = mark === "";
    }
    if (!entry) text.textContent = data.text;
    else if (entry.state === "failed") text.textContent = `Not saved: ${entry.reason}`;
    else text.textContent = `${mark || "Withdrawn"}${entry.state === "saving" ? ", saving …" : ", saved"}`;
  }

  function move(name) {
    if (!data[name]) return;
    saveNote();
    window.vestigoActions.leave(window.vestigoActions.push({ scope: data.scope, crop: data.crop, action: name }));
  }

  function judge(name) {
    clearTimeout(timers.get(draft));
    const { mark } = data.buttons.find((button) => button.name === name) ?? {};
    if (mark === undefined) return;
    const entry = { scope: data.scope, crop: data.crop, action: name, note: note.value, mark, tone: "" };
    if (name === "withdraw" && state().mark === "") return;
    drafts.delete(draft);
    window.vestigoActions.push({ ...entry, before: data.text });
  }

  // The field is kept while the same result is shown, so that nothing interrupts typing.
  function makeNote() {
    const old = bar.querySelector("input");
    const input = old?.dataset.draft === draft ? old : element("input", { type: "text", placeholder: "Note" });
    if (input !== old || !drafts.has(draft)) input.value = drafts.get(draft) ?? data.note;
    input.dataset.draft = draft;
    input.maxLength = data.noteLength;
    input.title = "Saved with the verdict; a note that is typed after it is saved by itself";
    input.setAttribute("aria-label", "Note");
    input.onchange = saveNote;
    input.oninput = () => {
      drafts.set(draft, input.value);
      clearTimeout(timers.get(draft));
      timers.set(draft, setTimeout(saveNote, NOTE_PAUSE_MS));
    };
    return input;
  }

  // A note that is typed after the verdict repeats the verdict with the note.
  function saveNote() {
    const current = data.buttons.find((button) => button.mark !== "" && button.mark === state().mark);
    if (current && drafts.has(draft)) judge(current.name);
  }

  function makeButton(name, label, sign, key, mark) {
    const button = element("button", { type: "button", onclick: () => window.vestigoActions.press(key) });
    button.append(label, element("kbd", { textContent: sign }));
    if (name in data) button.disabled = !data[name];
    else button.dataset.mark = mark;
    return button;
  }
}

function element(kind, properties) {
  return Object.assign(document.createElement(kind), properties);
}
