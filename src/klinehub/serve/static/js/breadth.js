/** @param {HTMLElement} place */
export function mountBreadth(place) {
  place.hidden = true;
}
