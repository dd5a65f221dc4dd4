// Queue of user actions. Other components push actions; each stays in the queue, and in the storage of the tab, until
// the server has answered it by its id. All unanswered actions are sent with every new one, and again after a while.
// Keys that are pressed in a dialog, or before it is shown, wait in a queue of their own until its component takes them.
const STORAGE = "vestigo-actions";
const RESEND_MS = 4000;
const MAX_DOUBLINGS = 4;
const BUTTON = "st-key-queued-";
const MAX_SAVED = 500;
// A result that has not come by then does not come: keys are dropped.
const MAX_LOAD_MS = 150000;
const DIALOG_KEY = /^(Arrow(Left|Right)|\S)$/;
const TYPING = "input, textarea, select, [contenteditable], [role=radio], [role=slider]";

export default function ({ data, parentElement, setStateValue }) {
  const queue = (window.vestigoActions ??= openQueue(data.user));
  queue.connect((actions) => setStateValue("actions", actions), () => show(parentElement, queue));
  queue.settle(data.outcomes);
}

function openQueue(user) {
  let entries = stored().filter((entry) => entry.user === user);
  let send = () => {};
  let dialog = null;
  let isScheduled = false;
  let draw = () => {};
  let timer = 0;
  let keys = [];
  let take = null;
  let shown = null;
  let left = null;
  let isDelivering = false;
  const queue = { connect, mount, push, settle, latest, retry, discard, press, leave, arrive, depart, entries: () => entries };
  document.addEventListener("keydown", keyPressed, true);
  document.addEventListener("pointerdown", pointerPressed, true);
  document.addEventListener("click", clicked, true);
  window.addEventListener("beforeunload", (event) => {
    if (entries.some(isSaving)) event.preventDefault();
  });
  return queue;

  function connect(sender, drawer) {
    [send, draw] = [sender, drawer];
    if (!timer) transmit();
  }

  // The component of a dialog sends the actions of its scope: the server then runs the dialog without the page.
  function mount(scope, sender) {
    dialog = { scope, send: sender };
  }

  // An action is {scope, action, crop, note}; one that changes the store also has the mark and tone of its result.
  // Returns its id.
  function push(action) {
    const id = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    // It replaces one about the same item that failed.
    entries = entries.filter((entry) => entry.state !== "failed" || entry.scope !== action.scope || entry.crop !== action.crop);
    entries.push({ note: "", ...action, id, user, state: "saving", sent: 0 });
    changed();
    schedule();
    return id;
  }

  // Actions of the same moment are sent together.
  function schedule() {
    if (!isScheduled) queueMicrotask(transmit);
    isScheduled = true;
  }

  function transmit() {
    stop();
    isScheduled = false;
    const saving = entries.filter(isSaving);
    if (saving.length) {
      // What the dialog has not answered goes to the page, as the dialog may have been closed.
      const isOfDialog = (entry) => entry.scope === dialog?.scope && entry.sent < 2;
      const [ofDialog, ofPage] = [saving.filter(isOfDialog), saving.filter((entry) => !isOfDialog(entry))];
      for (const entry of saving) entry.sent += 1;
      if (ofDialog.length) dialog.send(ofDialog.map(message));
      if (ofPage.length) send(ofPage.map(message));
      // A run that takes longer is not stopped again and again.
      timer = setTimeout(transmit, RESEND_MS * 2 ** Math.min(saving.at(-1).sent - 1, MAX_DOUBLINGS));
    }
    changed();
  }

  function stop() {
    clearTimeout(timer);
    timer = 0;
  }

  function settle(outcomes) {
    for (const entry of entries.filter((entry) => isSaving(entry) && entry.id in (outcomes ?? {}))) {
      entry.reason = outcomes[entry.id];
      entry.state = entry.reason ? "failed" : "saved";
    }
    if (left && entries.some((entry) => entry.id === left.id && entry.state === "failed")) stay();
    if (!entries.some(isSaving)) stop();
    const saved = entries.filter((entry) => entry.state === "saved" && isRecord(entry)).slice(-MAX_SAVED);
    entries = entries.filter((entry) => entry.state !== "saved" || saved.includes(entry));
    changed();
  }

  function latest(scope, crop) {
    return entries.findLast((entry) => entry.scope === scope && entry.crop === crop && isRecord(entry));
  }

  // A key press that a component takes, such as the click of a button that a key stands for.
  function press(key) {
    keys.push(key);
    deliver();
  }

  // The action with this id opens another result: keys wait for it, so that a verdict is about the crop in view.
  function leave(id) {
    left = { crop: shown, id };
    setTimeout(() => left?.id === id && stay(), MAX_LOAD_MS);
  }

  // The result of a crop is shown, and takes keys.
  function arrive(crop, taker) {
    [shown, take] = [crop, taker];
    if (left && left.crop !== crop) left = null;
    deliver();
  }

  function depart() {
    [shown, take, dialog] = [null, null, null];
  }

  function stay() {
    [left, keys] = [null, []];
  }

  function deliver() {
    if (isDelivering) return;
    isDelivering = true;
    while (keys.length && take && !left) take(keys.shift());
    isDelivering = false;
  }

  function keyPressed(event) {
    if (event.key === "Escape") stay();
    const isTyping = event.composedPath()[0].matches?.(TYPING);
    const isHeld = left || (take && openDialog());
    if (!isHeld || !DIALOG_KEY.test(event.key) || isTyping) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    event.preventDefault();
    event.stopPropagation();
    press(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  }

  // A click that closes the dialog, or leaves it.
  function pointerPressed(event) {
    const path = event.composedPath();
    if (!path.includes(openDialog()) || path.some((part) => part.matches?.("[aria-label=Close]"))) stay();
  }

  // A click on a button whose key begins with "queued-", the scope of its action. It waits for its answer.
  function clicked(event) {
    const button = event.target.closest?.("[class*=st-key-queued-] button");
    if (!button || button.disabled) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const names = [...button.closest("[class*=st-key-queued-]").classList];
    const scope = names.find((name) => name.startsWith(BUTTON)).slice("st-key-".length);
    const isWaiting = entries.some((entry) => isSaving(entry) && entry.scope === scope);
    if (!isWaiting) push({ scope, crop: "", action: "click", mark: "", tone: "" });
  }

  function retry() {
    const failed = entries.filter((entry) => entry.state === "failed");
    discard();
    failed.forEach(push);
  }

  function discard() {
    entries = entries.filter((entry) => entry.state !== "failed");
    changed();
  }

  function changed() {
    sessionStorage.setItem(STORAGE, JSON.stringify(entries.filter((entry) => entry.state !== "saved")));
    draw();
    window.dispatchEvent(new Event(STORAGE));
  }
}

function openDialog() {
  return document.querySelector("[role=dialog]");
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE) ?? "[]");
  } catch {
    return [];
  }
}

function message({ id, scope, action, crop, note }) {
  return { id, scope, action, crop, note };
}

function isSaving(entry) {
  return entry.state === "saving";
}

function isRecord(entry) {
  return entry.mark !== undefined;
}

function show(parentElement, queue) {
  const box = parentElement.querySelector(".actions");
  const records = queue.entries().filter(isRecord);
  const saving = records.filter(isSaving);
  const failed = queue.entries().filter((entry) => entry.state === "failed");
  box.className = `actions${failed.length ? " failed" : ""}`;
  if (failed.length) {
    const reasons = [...new Set(failed.map((entry) => entry.reason))].join("; ");
    box.replaceChildren(
      `Not saved: ${count(failed.length)}. Reason: ${reasons}`,
      button("Try again", queue.retry),
      button("Discard", queue.discard),
    );
  } else if (saving.length) {
    const isSlow = saving.some((entry) => entry.sent > 2);
    box.replaceChildren(`Saving ${count(saving.length)}${isSlow ? "; the server has not answered yet" : ""} …`);
  } else {
    box.replaceChildren(...(records.length ? ["All actions are saved"] : []));
  }
}

function count(number) {
  return `${number} action${number === 1 ? "" : "s"}`;
}

function button(label, click) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = label;
  element.onclick = click;
  return element;
}
