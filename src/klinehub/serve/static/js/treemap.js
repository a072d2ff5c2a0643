/**
 * A squarified treemap: areas by value, tiles as close to squares as they go.
 *
 * Tiles are laid in rows along the shorter side of what is left; a row takes one more tile as long as
 * its worst side ratio gets no worse by it.
 */

/**
 * @typedef {{x: number, y: number, w: number, h: number}} Rect
 * @typedef {{name: string, rect: Rect, head: number, members: number[]}} Group
 */

const NOWHERE = { x: 0, y: 0, w: 0, h: 0 };

/**
 * Lay out values in a rectangle; what is not above zero gets no room.
 * @param {ArrayLike<number>} values
 * @param {Rect} rect
 * @returns {Rect[]} one for each value, in the order of the values
 */
export function squarified(values, rect) {
  const rects = Array.from(values, () => NOWHERE);
  const order = [...rects.keys()].filter((i) => values[i] > 0 && values[i] < Infinity);
  order.sort((a, b) => values[b] - values[a] || a - b);
  const total = order.reduce((sum, i) => sum + values[i], 0);
  if (!order.length || rect.w <= 0 || rect.h <= 0) return rects;
  const scale = (rect.w * rect.h) / total;
  const areas = order.map((i) => values[i] * scale);
  let left = { ...rect };
  for (let from = 0; from < order.length; ) {
    const until = endOfRow(areas, from, Math.min(left.w, left.h));
    const placed = layRow(areas.slice(from, until), left, until === order.length);
    placed.rects.forEach((one, k) => (rects[order[from + k]] = one));
    left = placed.left;
    from = until;
  }
  return rects;
}

/** Give where a row that begins at *from* has its best ratio. */
function endOfRow(areas, from, side) {
  let sum = areas[from];
  let worst = worstRatio(areas[from], areas[from], sum, side);
  let until = from + 1;
  while (until < areas.length) {
    const next = worstRatio(areas[from], areas[until], sum + areas[until], side);
    if (next > worst) break;
    sum += areas[until];
    worst = next;
    until += 1;
  }
  return until;
}

/** Areas of a row fall, so that its first or its last tile is the worst. */
function worstRatio(largest, smallest, sum, side) {
  const square = side * side;
  return Math.max((square * largest) / (sum * sum), (sum * sum) / (square * smallest));
}

/** Lay one row along the shorter side; the last row takes all that is left. */
function layRow(areas, left, last) {
  const sum = areas.reduce((a, b) => a + b, 0);
  const upright = left.w >= left.h;
  const side = upright ? left.h : left.w;
  const most = upright ? left.w : left.h;
  const depth = last ? most : Math.min(most, sum / side);
  let along = 0;
  const rects = areas.map((area) => {
    const length = (area / sum) * side;
    const one = upright
      ? { x: left.x, y: left.y + along, w: depth, h: length }
      : { x: left.x + along, y: left.y, w: length, h: depth };
    along += length;
    return one;
  });
  const rest = upright
    ? { x: left.x + depth, y: left.y, w: left.w - depth, h: left.h }
    : { x: left.x, y: left.y + depth, w: left.w, h: left.h - depth };
  return { rects, left: rest };
}

/**
 * Lay out groups by the sum of their values, and the values inside of them below a headline.
 * @param {ArrayLike<number>} values
 * @param {string[]} names the group of each value
 * @param {Rect} rect
 * @param {number} head height of a headline; groups too small for it have none
 * @returns {{rects: Rect[], groups: Group[]}}
 */
export function grouped(values, names, rect, head) {
  const members = new Map();
  names.forEach((name, i) => {
    if (values[i] > 0) members.set(name, [...(members.get(name) ?? []), i]);
  });
  const sums = [...members.values()].map((list) => list.reduce((sum, i) => sum + values[i], 0));
  const outer = squarified(sums, rect);
  const rects = Array.from(values, () => NOWHERE);
  const groups = [...members].map(([name, list], g) => {
    const room = outer[g];
    const top = room.h > 3 * head && room.w > 3 * head ? head : 0;
    const inner = { x: room.x + 1, y: room.y + 1 + top, w: room.w - 2, h: room.h - 2 - top };
    const tiles = squarified(list.map((i) => values[i]), inner);
    list.forEach((i, k) => (rects[i] = tiles[k]));
    return { name, rect: room, head: top, members: list };
  });
  return { rects, groups };
}

/**
 * Find the tile that an arrow key leads to: the nearest one in that direction.
 * @param {Rect[]} rects
 * @param {number} from
 * @param {"left"|"right"|"up"|"down"} direction
 * @returns {number} *from* where there is none
 */
export function neighbour(rects, from, direction) {
  const [dx, dy] = { left: [-1, 0], right: [1, 0], up: [0, -1], down: [0, 1] }[direction];
  const start = middle(rects[from]);
  let best = from;
  let least = Infinity;
  rects.forEach((one, i) => {
    if (i === from || one.w * one.h === 0) return;
    const to = middle(one);
    const ahead = (to.x - start.x) * dx + (to.y - start.y) * dy;
    const aside = Math.abs((to.x - start.x) * dy) + Math.abs((to.y - start.y) * dx);
    if (ahead <= 0.5 || ahead + 2 * aside >= least) return;
    best = i;
    least = ahead + 2 * aside;
  });
  return best;
}

function middle(rect) {
  return { x: rect.x + rect.w / 2, y: rect.y + rect.h / 2 };
}
