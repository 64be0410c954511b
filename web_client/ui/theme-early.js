/* Runs before the first paint, so that a remembered light or dark choice does not flash. */
(() => {
  try {
    const chosen = localStorage.getItem("fada.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    /* Storage may be refused (private windows); the system's scheme is used. */
  }
})();
