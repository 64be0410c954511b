/**
 * What the page remembers between visits: small strings in localStorage.
 *
 * In: keys and values from the other modules. Out: the remembered value or null. Storage may be refused
 * (private windows, strict settings); then nothing is remembered and nothing breaks.
 * The mute switch is not remembered on purpose: every visit starts silent, so nobody meets an echo.
 */

/** @typedef {"theme" | "avatar" | "microphone" | "figures" | "audio-scale" | "reference-scale"} SettingName */

/**
 * @param {SettingName} name
 * @returns {string | null}
 */
export function recall(name) {
  try {
    return localStorage.getItem(`fada.${name}`);
  } catch {
    return null;
  }
}

/**
 * @param {SettingName} name
 * @param {string} value
 */
export function remember(name, value) {
  try {
    localStorage.setItem(`fada.${name}`, value);
  } catch {
    /* Not remembered: the page works all the same. */
  }
}

/** @param {SettingName} name */
export function forget(name) {
  try {
    localStorage.removeItem(`fada.${name}`);
  } catch {
    /* There was nothing to forget. */
  }
}
