/**
 * Light and dark. The system's scheme is the default; the button overrides it and is remembered.
 *
 * In: the toggle button, `prefers-color-scheme`. Out: `data-theme` on <html>, which the style sheet reads.
 */

import { recall, remember } from "./settings.js";

const system = matchMedia("(prefers-color-scheme: dark)");

/** @returns {"light" | "dark"} the scheme in force */
export function currentTheme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return system.matches ? "dark" : "light";
}

/**
 * @param {HTMLButtonElement} button the toggle
 * @param {HTMLElement} label its text
 * @param {() => void} onChange called after every change, to redraw what is painted on a canvas
 */
export function setUpTheme(button, label, onChange) {
  const show = () => {
    const other = currentTheme() === "dark" ? "light" : "dark";
    label.textContent = other === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Switch to the ${other} scheme`);
    onChange();
  };
  const chosen = recall("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  button.addEventListener("click", () => {
    const next = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    remember("theme", next);
    show();
  });
  system.addEventListener("change", show);
  show();
}
