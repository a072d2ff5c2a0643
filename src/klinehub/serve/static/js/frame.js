/** One frame for all that has to be drawn: however often something is asked for, it is drawn once. */

const waiting = new Set();
let asked = 0;

function draw() {
  asked = 0;
  const now = [...waiting];
  waiting.clear();
  for (const work of now) work();
}

/**
 * Draw something in the next frame; the same function asked for twice is called once.
 * @param {() => void} work
 */
export function nextFrame(work) {
  waiting.add(work);
  asked ||= requestAnimationFrame(draw);
}
