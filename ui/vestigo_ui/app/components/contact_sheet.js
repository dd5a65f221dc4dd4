// Crops as one image; tiles are buttons that show their part of it. Arrows move, Enter opens, and each
// action has a key. Everything is set as text or style, never as HTML.
export default function ({ data, parentElement, setTriggerValue }) {
  const sheet = parentElement.querySelector(".sheet");
  const focused = sheet.contains(parentElement.activeElement) ? parentElement.activeElement.dataset.crop : null;
  sheet.replaceChildren(...data.tiles.map((tile, place) => makeTile(tile, place)));
  sheet.style.gridTemplateColumns = data.across ? `repeat(${data.across}, minmax(0, ${data.width}px))` : "";
  sheet.style.setProperty("--tile-width", `${data.width}px`);
  sheet.style.setProperty("--tile-ratio", `${data.ratio}`);
  sheet.style.setProperty("--sheet-size", `${100 * data.columns}% ${100 * data.rows}%`);
  sheet.setAttribute("aria-label", data.label);
  if (focused) cropButtons().find((button) => button.dataset.crop === focused)?.focus();
  sheet.onkeydown = pressed;

  function cropButtons() {
    return [...sheet.querySelectorAll(".crop")];
  }

  function send(action, crop) {
    setTriggerValue("event", { action, crop });
  }

  function makeTile(tile, place) {
    const box = document.createElement("div");
    box.className = `tile ${tile.tone}${tile.selected ? " selected" : ""}`;
    box.setAttribute("role", "listitem");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "crop";
    button.dataset.crop = tile.crop;
    button.setAttribute("aria-label", [tile.mark, tile.title, ...tile.lines].filter(Boolean).join(", "));
    button.title = tile.hint;
    button.style.backgroundImage = `url(${data.image})`;
    const [column, row] = [place % data.columns, Math.floor(place / data.columns)];
    button.style.backgroundPosition = `${part(column, data.columns)}% ${part(row, data.rows)}%`;
    button.onclick = () => send("open", tile.crop);
    box.append(button);
    if (tile.mark) box.append(text("div", "mark", tile.mark));
    if (data.actions.length) box.append(actions(tile));
    const words = text("div", "words", "");
    if (tile.title) words.append(text("b", "", tile.title));
    words.append(...tile.lines.map((line) => text("span", "", line)));
    if (words.childElementCount) box.append(words);
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
      button.onclick = () => send(action.name, tile.crop);
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
      send(action.name, event.target.dataset.crop);
      event.stopPropagation();
    }
  }
}
