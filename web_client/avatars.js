/**
 * The choice of faces: a grid of thumbnails, one of them chosen (radio buttons, so arrow keys work).
 *
 * In: the server's list. Out: the chosen avatar, by `onChoice`; the choice is remembered.
 */

import { pause, waitBefore } from "./backoff.js";
import { recall, remember } from "./settings.js";
import { fetchAvatars } from "./signalling.js";


/** @typedef {import("./signalling.js").Avatar} Avatar */

/**
 * Asks for the list until the server gives it.
 * @param {(error: unknown) => void} onTrouble called after every failed try
 * @returns {Promise<Avatar[]>}
 */
export async function loadAvatars(onTrouble) {
  const never = new AbortController().signal;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await fetchAvatars();
    } catch (error) {
      onTrouble(error);
      await pause(waitBefore(attempt), never);
    }
  }
}

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
