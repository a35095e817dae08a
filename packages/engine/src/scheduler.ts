/** What the scheduler looks at: pure numbers, no cache and no clock. */
export interface Schedulable {
  /** Higher runs first. */
  readonly priority: number;
  /** Order of arrival: lower runs first among equals. */
  readonly arrival: number;
  /** Tokens that could be fed now: 1 while decoding, what is left of the prompt in a prefill. */
  readonly pending: number;
  /** Whether it already produces tokens: such sequences are never delayed by prompts. */
  readonly decoding: boolean;
}

/** Runs first: higher priority, then earlier arrival. */
export const byUrgency = (a: Schedulable, b: Schedulable): number =>
  b.priority - a.priority || a.arrival - b.arrival;

/** Whether `needed` blocks of each arena are available. */
export const fits = (needed: readonly number[], available: readonly number[]): boolean =>
  needed.every((blocks, arena) => blocks <= available[arena]!);

/**
 * The most urgent sequence whose next tokens have no blocks left once more urgent ones took theirs;
 * undefined when all fit. `available` is reduced by what was granted.
 */
export function firstShort<S extends Schedulable>(
  running: readonly S[],
  available: number[],
  needed: (sequence: S) => readonly number[],
): S | undefined {
  for (const sequence of [...running].sort(byUrgency)) {
    const blocks = needed(sequence);
    if (!fits(blocks, available)) return sequence;
    for (let arena = 0; arena < blocks.length; arena++) available[arena]! -= blocks[arena]!;
  }
  return undefined;
}

/** The sequence that gives its blocks up first: the least urgent one. */
export function leastUrgent<S extends Schedulable>(sequences: readonly S[]): S | undefined {
  let victim: S | undefined;
  for (const sequence of sequences)
    if (victim === undefined || byUrgency(sequence, victim) > 0) victim = sequence;
  return victim;
}

/**
 * Who is let in next: the most urgent one that waits. While prompts of its priority or above take
 * all of a step's `promptTokens` another one would only hold blocks, unless it is shorter than each
 * of them: it shares the step with them then, and is done before them.
 */
export function nextToAdmit<S extends Schedulable>(
  waiting: readonly S[],
  running: readonly S[],
  promptTokens: number,
): S | undefined {
  const [head] = waiting;
  if (!head) return undefined;
  let pending = 0;
  let shortest = Number.POSITIVE_INFINITY;
  for (const prompt of running) {
    if (prompt.decoding || prompt.priority < head.priority) continue;
    pending += prompt.pending;
    shortest = Math.min(shortest, prompt.pending);
  }
  if (pending < promptTokens) return head;
  return waiting.find((one) => one.priority === head.priority && one.pending < shortest);
}

/**
 * How many tokens each running sequence feeds in this step: [running.length], at most
 * `maxBatchTokens` in all. Every decoding sequence feeds its token first; the rest goes to prompts,
 * the most urgent priority first and shared evenly inside it, so that neither does a long prompt
 * stall decoding nor does it make short prompts wait for its end.
 */
export function shareTokens(running: readonly Schedulable[], maxBatchTokens: number): number[] {
  const tokens = running.map(() => 0);
  const order = running.map((_, i) => i).sort((a, b) => byUrgency(running[a]!, running[b]!));
  let left = maxBatchTokens;
  for (const i of order)
    if (running[i]!.decoding && left > 0) {
      tokens[i] = Math.min(running[i]!.pending, left);
      left -= tokens[i]!;
    }
  const prefills = order.filter((i) => !running[i]!.decoding && running[i]!.pending > 0);
  for (let begin = 0; begin < prefills.length && left > 0; ) {
    const { priority } = running[prefills[begin]!]!;
    let end = begin;
    while (end < prefills.length && running[prefills[end]!]!.priority === priority) end++;
    left = shareEvenly(prefills.slice(begin, end), running, tokens, left);
    begin = end;
  }
  return tokens;
}

/** Fills the smallest wishes first, so that what they leave goes to the larger ones. */
function shareEvenly(
  group: readonly number[],
  running: readonly Schedulable[],
  tokens: number[],
  budget: number,
): number {
  const byWish = [...group].sort((a, b) => running[a]!.pending - running[b]!.pending);
  let left = budget;
  byWish.forEach((i, done) => {
    const share = Math.ceil(left / (byWish.length - done));
    tokens[i] = Math.min(running[i]!.pending, share, left);
    left -= tokens[i]!;
  });
  return left;
}
