/**
 * Pictures that come to the page by themselves: dropped anywhere on it, or pasted.
 *
 * In: the page's events. Out: `onPicture` with the file. What is no picture is left alone, but a dropped file never takes
 * the page's place.
 */

/**
 * @param {DataTransfer | null} transfer
 * @returns {File | null} the first picture in it
 */
function pictureIn(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/") || /\.(heic|heif|avif|jp2|tga)$/i.test(file.name)) ?? files[0] ?? null;
}

/** @param {(file: File) => void} onPicture */
export function watchForPictures(onPicture) {
  addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const picture = pictureIn(event.dataTransfer);
    if (picture) onPicture(picture);
  });
  addEventListener("paste", (event) => {
    const picture = pictureIn(event.clipboardData);
    if (!picture) return;
    event.preventDefault();
    onPicture(picture);
  });
}
