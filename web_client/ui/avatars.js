/**
 * The choice of faces: a grid of thumbnails, one of them chosen (radio buttons, so arrow keys work).
 *
 * In: the server's list. Out: the chosen avatar, by `onChoice`; the choice is remembered.
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

export class AvatarPicker {
  /** @type {Avatar[]} */
  #avatars = [];
  /** @type {Avatar | null} */
  #chosen = null;

  /**
   * @param {HTMLElement} grid
   * @param {HTMLElement} about
   * @param {(avatar: Avatar) => void} onChoice
   */
  constructor(grid, about, onChoice) {
    this.grid = grid;
    this.about = about;
    this.onChoice = onChoice;
  }

  /** @returns {Avatar | null} */
  get chosen() {
    return this.#chosen;
  }

  /** @param {Avatar[]} avatars */
  show(avatars) {
    this.#avatars = avatars;
    this.grid.setAttribute("aria-busy", "false");
    const remembered = recall("avatar");
    const first = avatars.find((avatar) => avatar.id === remembered) ?? avatars[0];
    this.grid.replaceChildren(
      ...avatars.map((avatar) => {
        const { tile, input } = makeTile(avatar);
        input.checked = avatar === first;
        input.addEventListener("change", () => this.#choose(avatar));
        return tile;
      }),
    );
    if (first) this.#choose(first);
    else this.about.textContent = "The server offers no avatars.";
  }

  /** @param {Avatar} avatar */
  #choose(avatar) {
    this.#chosen = avatar;
    this.about.textContent = avatar.about || avatar.name;
    remember("avatar", avatar.id);
    this.onChoice(avatar);
  }
}
