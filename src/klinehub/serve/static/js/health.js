/** @param {HTMLElement} place */
export function mountHealth(place) {
  place.hidden = true;
}
