// Queue of user actions. Other components push actions; each stays in the queue, and in the storage of the tab, until
// the server has answered it by its id. All unanswered actions are sent with every new one, and again after a while.
const STORAGE = "vestigo-actions";
const RESEND_MS = 4000;
const MAX_SAVED = 500;

export default function ({ data, parentElement, setStateValue }) {
  const queue = (window.vestigoActions ??= openQueue(data.user));
  queue.connect((actions) => setStateValue("actions", actions), () => show(parentElement, queue));
  queue.settle(data.outcomes);
}

function openQueue(user) {
  let entries = stored().filter((entry) => entry.user === user);
  let send = () => {};
  let draw = () => {};
  let timer = 0;
  const queue = { connect, push, settle, latest, retry, discard, entries: () => entries };
  window.addEventListener("beforeunload", (event) => {
    if (entries.some(isSaving)) event.preventDefault();
  });
  return queue;

  function connect(sender, drawer) {
    [send, draw] = [sender, drawer];
    if (!timer) transmit();
  }

  // An action is {scope, action, crop, note}; one that changes the store also has the mark and tone of its result.
  function push(action) {
    const id = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    entries.push({ note: "", ...action, id, user, state: "saving", sent: 0 });
    transmit();
  }

  function transmit() {
    stop();
    const saving = entries.filter(isSaving);
    if (saving.length) {
      for (const entry of saving) entry.sent += 1;
      send(saving.map(({ id, scope, action, crop, note }) => ({ id, scope, action, crop, note })));
      timer = setTimeout(transmit, RESEND_MS);
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
    if (!entries.some(isSaving)) stop();
    const saved = entries.filter((entry) => entry.state === "saved" && isRecord(entry)).slice(-MAX_SAVED);
    entries = entries.filter((entry) => entry.state !== "saved" || saved.includes(entry));
    changed();
  }

  function latest(scope, crop) {
    return entries.findLast((entry) => entry.scope === scope && entry.crop === crop && isRecord(entry));
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

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE) ?? "[]");
  } catch {
    return [];
  }
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
