/**
 * Faces of one's own on the call page: the studio, what is dropped or pasted, and the farewell.
 *
 * In: what the server says of uploads, the picker, two dialogs. Out: faces that join the picker's list, chosen, and leave it.
 */

import { watchForPictures } from "../pictures/arrivals.js";
import { Refusal, removeAvatar } from "../pictures/server.js";
import { Studio } from "../pictures/studio.js";
import { fetchAvatars } from "../rtc/signalling.js";

/** @returns {string} where pictures stay, as the person before the page would say it */
function whereTheyStay() {
  return /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname) ? "this machine" : "this server";
}

/**
 * @param {import("../rtc/signalling.js").UploadsConfig} config
 * @param {import("../ui/avatars.js").AvatarPicker} picker
 * @param {HTMLDialogElement} studioDialog
 * @param {HTMLDialogElement} farewell
 * @param {() => boolean} isCalling
 */
export function setUpPictures(config, picker, studioDialog, farewell, isCalling) {
  const where = whereTheyStay();
  for (const place of document.querySelectorAll("[data-part=where]")) place.textContent = where;
  const onKept = async (/** @type {string} */ id) => {
    picker.show(await fetchAvatars(), id);
    picker.focus();
  };
  const studio = new Studio(studioDialog, { config, isCalling, onKept: (id) => void onKept(id) });
  watchForPictures((file) => studio.begin(file));

  const question = /** @type {HTMLElement} */ (farewell.querySelector("[data-part=question]"));
  const trouble = /** @type {HTMLElement} */ (farewell.querySelector("[data-part=trouble]"));
  /** @type {import("../rtc/signalling.js").Avatar | null} */
  let leaving = null;
  picker.takePictures(where, () => studio.begin(), (avatar) => {
    leaving = avatar;
    question.textContent = `Remove ${avatar.name}?`;
    trouble.textContent = "";
    farewell.showModal();
  });
  farewell.querySelector("[data-do=stay]")?.addEventListener("click", () => farewell.close());
  farewell.querySelector("[data-do=remove]")?.addEventListener("click", async () => {
    if (!leaving) return;
    try {
      await removeAvatar(leaving.id);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.code !== "unknown_avatar") return void (trouble.textContent = error.message);
    }
    farewell.close();
    picker.show(await fetchAvatars(), null);
    picker.focus();
  });
}
