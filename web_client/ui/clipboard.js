/**
 * @param {string} text
 * @returns {Promise<boolean>} whether the clipboard holds it; pages at insecure addresses have none
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
