import type { Rule, Sequence } from "./grammar.ts";

/** A place inside a rule and, through `parent`, inside everybody who called it. */
interface Frame {
  readonly id: number;
  readonly sequence: Sequence;
  readonly at: number;
  /** How often the symbol at `at` was matched already, where it repeats. */
  readonly count: number;
  readonly parent: Frame | undefined;
}

/** Everything that may follow what was read so far. */
export interface MachineState {
  /** Places that wait for a byte. */
  readonly waiting: readonly Frame[];
  /** Whether the text may end here. */
  readonly accepts: boolean;
  /** Successors that are known already; null where the byte cannot follow. */
  readonly next: (MachineState | null | undefined)[];
}

/** Reads a grammar's text byte by byte. States are made when they are first met. */
export interface ByteMachine {
  readonly start: MachineState;
  /** The state after one more byte; null where the grammar does not allow it. */
  step(state: MachineState, byte: number): MachineState | null;
}

/** Forgets states beyond this many, so that endless texts do not keep endless memory. */
const MAX_STATES = 1 << 15;

/** A pushdown automaton over bytes, made deterministic as far as it is used. */
export function createByteMachine(root: Rule): ByteMachine {
  let numFrames = 0;
  let frames = new Map<string, Frame>();
  let states = new Map<string, MachineState>();
  const sequenceIds = new Map<Sequence, number>();

  function frameOf(
    sequence: Sequence,
    at: number,
    count: number,
    parent: Frame | undefined,
  ): Frame {
    let sequenceId = sequenceIds.get(sequence);
    if (sequenceId === undefined) {
      sequenceId = sequenceIds.size;
      sequenceIds.set(sequence, sequenceId);
    }
    const key = `${sequenceId},${at},${count},${parent?.id ?? ""}`;
    let frame = frames.get(key);
    if (!frame) {
      frame = { id: numFrames++, sequence, at, count, parent };
      frames.set(key, frame);
    }
    return frame;
  }

  /** The places where a byte is read next, starting at `open`. */
  function stateOf(open: Frame[]): MachineState {
    const seen = new Set<Frame>(open);
    const waiting: Frame[] = [];
    let accepts = false;
    const push = (frame: Frame) => {
      if (seen.has(frame)) return;
      seen.add(frame);
      open.push(frame);
    };
    for (let frame = open.pop(); frame; frame = open.pop()) {
      const { sequence, at, count, parent } = frame;
      const symbol = sequence[at];
      if (symbol === undefined) {
        if (parent) push(matchedOnce(parent));
        else accepts = true;
      } else if ("bytes" in symbol) waiting.push(frame);
      else {
        if (count >= symbol.min) push(frameOf(sequence, at + 1, 0, parent));
        if (count < symbol.max)
          for (const inner of symbol.rule.alternatives) push(frameOf(inner, 0, 0, frame));
      }
    }
    waiting.sort((a, b) => a.id - b.id);
    const key = `${waiting.map(({ id }) => id)}${accepts ? "." : ""}`;
    let state = states.get(key);
    if (!state) {
      state = { waiting, accepts, next: [] };
      states.set(key, state);
    }
    return state;
  }

  /** The place of a caller whose repeated symbol was matched once more. */
  function matchedOnce({ sequence, at, count, parent }: Frame): Frame {
    const symbol = sequence[at] as Extract<Sequence[number], { rule: Rule }>;
    const done = count + 1;
    if (done === symbol.max) return frameOf(sequence, at + 1, 0, parent);
    // Counting on would tell states apart that nothing distinguishes.
    const endless = symbol.max === Number.POSITIVE_INFINITY;
    return frameOf(sequence, at, endless ? Math.min(done, symbol.min) : done, parent);
  }

  const start = stateOf(root.alternatives.map((sequence) => frameOf(sequence, 0, 0, undefined)));

  return {
    start,
    step(state, byte) {
      const known = state.next[byte];
      if (known !== undefined) return known;
      if (states.size > MAX_STATES) {
        frames = new Map();
        states = new Map();
      }
      const after: Frame[] = [];
      for (const { sequence, at, parent } of state.waiting) {
        const symbol = sequence[at]!;
        if ("bytes" in symbol && symbol.bytes[byte])
          after.push(frameOf(sequence, at + 1, 0, parent));
      }
      const next = after.length > 0 ? stateOf(after) : null;
      state.next[byte] = next;
      return next;
    },
  };
}
