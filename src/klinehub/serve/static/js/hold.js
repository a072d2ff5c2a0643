/** Whether rows have to stay where they are: the pointer is over them, or a finger has just moved them. */

/** A finger leaves no pointer over the table. */
const AFTER_TOUCH = 3_000;

/**
 * Watch over a part of the page.
 * @param {HTMLElement} element
 * @param {{onleave: () => void}} options told when the pointer has left
 * @returns {{isHeld: () => boolean, touch: () => void}} `touch` says that the part was moved
 */
export function makeHold(element, { onleave }) {
  let pointer = false;
  let touched = -AFTER_TOUCH;
  element.addEventListener("pointerenter", (event) => (pointer = event.pointerType === "mouse"));
  element.addEventListener("pointerleave", () => {
    pointer = false;
    onleave();
  });
  return {
    isHeld: () => pointer || performance.now() - touched < AFTER_TOUCH,

    touch() {
      if (!pointer) touched = performance.now();
    },
  };
}
