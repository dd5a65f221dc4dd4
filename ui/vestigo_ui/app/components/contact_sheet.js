// Crops as one image; tiles are buttons that show their part of it. Arrows move, Enter opens, and each
// action has a key. Input goes to the queue of actions, whose state the marks show at once. Everything is set as text
// or style, never as HTML.
export default function ({ data, parentElement }) {
  const sheet = parentElement.querySelector(".sheet");
  const focused = sheet.contains(parentElement.activeElement) ? parentElement.activeElement.dataset.crop : null;
  const boxes = data.tiles.map((tile, place) => makeTile(tile, place));
  sheet.replaceChildren(...boxes);
  sheet.style.gridTemplateColumns = data.across ? `repeat(${data.across}, minmax(0, ${data.width}px))` : "";
  sheet.style.setProperty("--tile-width", `${data.width}px`);
  sheet.style.setProperty("--tile-ratio", `${data.ratio}`);
  sheet.style.setProperty("--sheet-size", `${100 * data.columns}% ${100 * data.rows}%`);
  sheet.setAttribute("aria-label", data.label);
  if (focused) cropButtons().find((button) => button.dataset.crop === focused)?.focus();
  sheet.onkeydown = pressed;
  const repaint = () => boxes.forEach((box, place) => paint(box, data.tiles[place]));
  window.addEventListener("vestigo-actions", repaint);
  return () => window.removeEventListener("vestigo-actions", repaint);

  function cropButtons() {
    return [...sheet.querySelectorAll(".crop")];
  }

  function send(action, tile) {
    if (!data.scope) return;
    const entry = { scope: data.scope, crop: tile.crop, action: action.name };
    if (typeof action.mark === "string") {
      const isRepeated = state(tile).mark === action.mark;
      entry.before = tile.mark;
      [entry.mark, entry.tone] = isRepeated ? ["", ""] : [action.mark, action.tone];
      if (isRepeated) entry.action = "withdraw";
    }
    const id = window.vestigoActions.push(entry);
    if (action.name === "open" && data.opensResult) window.vestigoActions.leave(id);
  }

  // The mark of a tile: that of the user's last action until the page has been run with it.
  function state(tile) {
    const entry = window.vestigoActions?.latest(data.scope, tile.crop);
    if (!entry || (entry.state === "saved" && entry.before !== tile.mark)) return { mark: tile.mark, tone: tile.tone };
    if (entry.state === "failed") return { mark: "Not saved", tone: "unsaved" };
    return { mark: entry.mark, tone: entry.tone, isSaving: entry.state === "saving" };
  }

  function paint(box, tile) {
    const { mark, tone, isSaving } = state(tile);
    box.className = `tile ${tone}${tile.selected ? " selected" : ""}${isSaving ? " saving" : ""}`;
    const words = [mark, isSaving ? "saving" : "", tile.title, ...tile.lines].filter(Boolean);
    if (!words.length) words.push(`${data.label} ${data.tiles.indexOf(tile) + 1}`);
    box.querySelector(".crop").setAttribute("aria-label", words.join(", "));
    box.querySelector(".mark").textContent = mark;
  }

  function makeTile(tile, place) {
    const box = document.createElement("div");
    box.setAttribute("role", "listitem");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "crop";
    button.dataset.crop = tile.crop;
    button.title = tile.hint;
    button.style.backgroundImage = `url(${data.image})`;
    const [column, row] = [place % data.columns, Math.floor(place / data.columns)];
    button.style.backgroundPosition = `${part(column, data.columns)}% ${part(row, data.rows)}%`;
    button.onclick = () => send({ name: "open" }, tile);
    box.append(button, text("div", "mark", ""));
    if (data.actions.length) box.append(actions(tile));
    const words = text("div", "words", "");
    if (tile.title) words.append(text("b", "", tile.title));
    words.append(...tile.lines.map((line) => text("span", "", line)));
    if (words.childElementCount) box.append(words);
    paint(box, tile);
    return box;
  }

  function part(place, count) {
    return count > 1 ? (100 * place) / (count - 1) : 0;
  }

  function actions(tile) {
    const group = text("div", "acts", "");
    for (const action of data.actions) {
      const button = text("button", "act", action.sign);
      button.type = "button";
      button.title = action.key ? `${action.label} (${action.key.toUpperCase()})` : action.label;
      button.setAttribute("aria-label", `${action.label}: ${tile.title}`);
      button.onclick = () => send(action, tile);
      group.append(button);
    }
    return group;
  }

  function text(kind, name, words) {
    const element = document.createElement(kind);
    if (name) element.className = name;
    element.textContent = words;
    return element;
  }

  function pressed(event) {
    const all = cropButtons();
    const place = all.indexOf(event.target);
    if (place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const across = getComputedStyle(sheet).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (step !== undefined) {
      all[Math.min(Math.max(place + step, 0), all.length - 1)].focus();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const action = data.actions.find((action) => action.key === event.key.toLowerCase());
    if (action) {
      send(action, data.tiles[place]);
      event.stopPropagation();
    }
  }
}
