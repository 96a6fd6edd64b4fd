// Puts like functions of a wasm file side by side, so that it compresses better.
//
// gzip only refers back 32 KB. What comes next is therefore always the function of which most is already in the
// functions just before it. It need not be the best order, but it is the same for the same file.

import { Failure } from "./report.mjs";

/** Bytes that make one piece to look for again. Calls, loads and stores with their operands are about as long. */
const PIECE = 6;

/** Pieces in more functions than this say nothing about likeness, and would cost time. */
const COMMON = 100;

/** How far back pieces count, in bytes: what gzip can refer to, less what it spends on other things. */
const WINDOW = 24_000;

/** Keeps the smallest functions, any of which is like many, from coming first. */
const SMALL = 20;

const IMPORT_SECTION = 2;
const CODE_SECTION = 10;

// What is imported.
const FUNCTION = 0;
const TAG = 4;

/** The file with a section of names that sort its functions by likeness; names that it has are kept apart from it. */
export function namedByLikeness(wasm) {
  const { imported, bodies } = functions(wasm);
  const names = order(bodies).map((index, rank) => [imported + index, String(rank).padStart(6, "0")]);
  names.sort(([a], [b]) => a - b);
  const entries = names.map(([index, name]) => Buffer.concat([number(index), text(name)]));
  const subsection = Buffer.concat([number(entries.length), ...entries]);
  const section = Buffer.concat([text("name"), Buffer.from([1]), number(subsection.length), subsection]);
  return Buffer.concat([wasm, Buffer.from([0]), number(section.length), section]);
}

/** The functions in an order in which each is like those before it. */
function order(bodies) {
  const { pieces, owners, weights } = likenesses(bodies);
  const found = new Int32Array(bodies.length); // how many pieces of each function are in the window
  const uses = new Map(); // how many functions in the window have a piece
  const count = (piece, change) => {
    const before = uses.get(piece) ?? 0;
    uses.set(piece, before + change);
    if (before === 0 || before + change === 0) for (const owner of owners.get(piece)) found[owner] += change;
  };
  const left = new Set(bodies.keys());
  const placed = [];
  let [oldest, bytes] = [0, 0];
  while (left.size > 0) {
    let [next, best] = [-1, -1];
    for (const index of left) {
      const score = found[index] * weights[index];
      if (score > best) [next, best] = [index, score];
    }
    left.delete(next);
    placed.push(next);
    for (const piece of pieces[next]) count(piece, 1);
    for (bytes += bodies[next].length; bytes > WINDOW && placed[oldest] !== next; oldest++) {
      bytes -= bodies[placed[oldest]].length;
      for (const piece of pieces[placed[oldest]]) count(piece, -1);
    }
  }
  return placed;
}

/** The pieces each function shares with others, the functions that have each, and what one counts in a function. */
function likenesses(bodies) {
  const owners = new Map();
  const all = bodies.map((body, index) => {
    const pieces = new Set();
    for (let at = 0; at + PIECE <= body.length; at++) pieces.add(body.readUIntLE(at, PIECE));
    for (const piece of pieces) {
      if (owners.has(piece)) owners.get(piece).push(index);
      else owners.set(piece, [index]);
    }
    return pieces;
  });
  for (const [piece, { length }] of owners) if (length < 2 || length > COMMON) owners.delete(piece);
  const pieces = all.map((pieces) => [...pieces].filter((piece) => owners.has(piece)));
  return { pieces, owners, weights: all.map(({ size }) => 1 / (size + SMALL)) };
}

/** The functions that a wasm file has, and how many it imports: they are numbered first. */
function functions(wasm) {
  let imported = 0;
  const bodies = [];
  const read = reader(wasm);
  while (read.at < wasm.length) {
    const section = read.number();
    const end = read.number() + read.at;
    if (section === IMPORT_SECTION) {
      for (let left = read.number(); left > 0; left--) {
        read.bytes(read.number()); // the module
        read.bytes(read.number()); // the name
        const kind = read.number();
        if (kind === FUNCTION) imported++;
        else if (kind === TAG) read.number(); // always an exception
        else throw new Failure("The Worker imports something other than functions and tags.");
        read.number(); // the type
      }
    } else if (section === CODE_SECTION) {
      for (let left = read.number(); left > 0; left--) bodies.push(read.bytes(read.number()));
    }
    read.at = end;
  }
  return { imported, bodies };
}

/** Reads from behind the magic and the version. */
function reader(wasm) {
  return {
    at: 8,
    /** An unsigned LEB128. */
    number() {
      let [value, shift, byte] = [0, 0, 0];
      do {
        byte = wasm[this.at++];
        value |= (byte & 0x7f) << shift;
        shift += 7;
      } while (byte > 0x7f);
      return value;
    },
    bytes(length) {
      this.at += length;
      return wasm.subarray(this.at - length, this.at);
    },
  };
}

function number(value) {
  const bytes = [];
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

function text(value) {
  return Buffer.concat([number(value.length), Buffer.from(value)]);
}
