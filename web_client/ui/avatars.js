/**
 * The choice of faces: a grid of thumbnails, one of them chosen (radio buttons, so arrow keys work). Before them, where
 * the server takes pictures, a tile that adds one's own; one's own can be removed again.
 *
 * In: the server's list. Out: the chosen avatar, by `onChoice`; the choice is remembered. The wish to add or remove one.
 */

import { recall, remember } from "./settings.js";

/** @typedef {import("../rtc/signalling.js").Avatar} Avatar */

/**
 * @param {Avatar} avatar
 * @returns {{tile: HTMLLabelElement, input: HTMLInputElement}}
 */
function makeTile(avatar) {
  const tile = document.createElement("label");
  tile.className = "face";
  tile.dataset.testid = "avatar-option";
  tile.dataset.avatar = avatar.id;
  tile.title = avatar.name;
  const input = document.createElement("input");
  input.type = "radio";
  input.name = "avatar";
  input.value = avatar.id;
  const picture = document.createElement("img");
  picture.src = avatar.thumbnail;
  picture.alt = "";
  picture.width = 96;
  picture.height = 96;
  picture.draggable = false;
  const name = document.createElement("span");
  name.textContent = avatar.name;
  tile.append(input, picture, name);
  return { tile, input };
}

/** @param {() => void} onAdd */
function makeAddTile(onAdd) {
  const tile = document.createElement("button");
  tile.type = "button";
  tile.className = "face face-add";
  tile.dataset.testid = "add-picture";
  tile.setAttribute("aria-haspopup", "dialog");
  const plus = document.createElement("i");
  plus.setAttribute("aria-hidden", "true");
  const name = document.createElement("span");
  name.textContent = "Yours";
  tile.append(plus, name);
  tile.title = "Add a picture of your own";
  tile.setAttribute("aria-label", tile.title);
  tile.addEventListener("click", onAdd);
  return tile;
}

export class AvatarPicker {
  /** @type {Avatar[]} */
  #avatars = [];
  /** @type {Avatar | null} */
  #chosen = null;
  /** @type {HTMLButtonElement | null} */
  #add = null;

  /**
   * @param {HTMLElement} grid
   * @param {HTMLElement} about
   * @param {HTMLButtonElement} remove shown where the chosen one is one's own
   * @param {(avatar: Avatar) => void} onChoice
   */
  constructor(grid, about, remove, onChoice) {
    this.grid = grid;
    this.about = about;
    this.remove = remove;
    this.onChoice = onChoice;
  }

  /** @returns {Avatar | null} */
  get chosen() {
    return this.#chosen;
  }

  /**
   * The server takes pictures: offer to add and to remove.
   * @param {string} where one's own pictures stay
   * @param {() => void} onAdd
   * @param {(avatar: Avatar) => void} onRemove
   */
  takePictures(where, onAdd, onRemove) {
    this.where = where;
    this.#add = makeAddTile(onAdd);
    this.remove.addEventListener("click", () => this.#chosen && onRemove(this.#chosen));
    if (this.#avatars.length > 0) this.grid.prepend(this.#add);
    if (this.#chosen) this.#tell(this.#chosen);
  }

  /**
   * @param {Avatar[]} avatars
   * @param {string | null} [wanted] id of the one to choose
   */
  show(avatars, wanted = recall("avatar")) {
    this.#avatars = avatars;
    this.grid.setAttribute("aria-busy", "false");
    const first = avatars.find((avatar) => avatar.id === wanted) ?? avatars[0];
    const ordered = [...avatars.filter(({ own }) => own), ...avatars.filter(({ own }) => !own)];
    this.grid.replaceChildren(
      ...(this.#add ? [this.#add] : []),
      ...ordered.map((avatar) => {
        const { tile, input } = makeTile(avatar);
        input.checked = avatar === first;
        input.addEventListener("change", () => this.#choose(avatar));
        return tile;
      }),
    );
    if (first) this.#choose(first);
    else this.about.textContent = "The server offers no avatars.";
  }

  /** Puts the focus on the chosen one, and brings it into sight. */
  focus() {
    const input = this.grid.querySelector("input:checked");
    if (input instanceof HTMLElement) input.focus();
  }

  /** @param {Avatar} avatar */
  #choose(avatar) {
    const again = this.#chosen?.id === avatar.id;
    this.#chosen = avatar;
    this.#tell(avatar);
    remember("avatar", avatar.id);
    if (!again) this.onChoice(avatar);
  }

  /** @param {Avatar} avatar */
  #tell(avatar) {
    const removable = avatar.own && this.#add !== null;
    this.about.textContent = removable ? `${avatar.name} stays on ${this.where}.` : avatar.about || avatar.name;
    this.remove.hidden = !removable;
    this.remove.setAttribute("aria-label", `Remove ${avatar.name}`);
  }
}
