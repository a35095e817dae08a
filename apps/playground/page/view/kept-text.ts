export interface KeptTokens {
  readonly positions: number;
  /** One bit a position for each row, rows padded to whole bytes. */
  readonly bits: Uint8Array;
}

export interface KeptText {
  /** Starts over with the tokens of a prompt. */
  begin(prompt: readonly string[]): void;
  /** A token of the answer. */
  push(token: string): void;
  show(kept: KeptTokens): void;
  /** One row, or all together. */
  select(row: number | undefined): void;
}

const LEVELS = 4;

/** The text with evicted tokens greyed: by one head, or lighter the fewer heads kept them. */
export function createKeptText(root: HTMLElement, numRows: number): KeptText {
  let tokens: string[] = [];
  let numPrompt = 0;
  let kept: KeptTokens | undefined;
  let row: number | undefined;
  let drawing = 0;
  // It scrolls, so the keyboard must reach it.
  root.tabIndex = 0;

  const holds = (r: number, position: number): boolean => {
    const rowBytes = Math.ceil(kept!.positions / 8);
    return (kept!.bits[r * rowBytes + (position >> 3)]! & (1 << (position & 7))) !== 0;
  };
  /** 0 for evicted everywhere, LEVELS for kept by all. Tokens after the last look are still there. */
  function level(position: number): number {
    if (!kept || position >= kept.positions) return LEVELS;
    if (row !== undefined) return holds(row, position) ? LEVELS : 0;
    let count = 0;
    for (let r = 0; r < numRows; r++) if (holds(r, position)) count++;
    return Math.ceil((LEVELS * count) / numRows);
  }

  function draw(): void {
    drawing = 0;
    const runs: HTMLSpanElement[] = [];
    let last = "";
    for (const [position, token] of tokens.entries()) {
      const name = position >= numPrompt ? `k${level(position)} answered` : `k${level(position)}`;
      if (name !== last) {
        const run = document.createElement("span");
        run.className = name;
        runs.push(run);
        last = name;
      }
      runs.at(-1)!.append(token);
    }
    root.replaceChildren(...runs);
    const share = tokens.length
      ? tokens.filter((_, position) => level(position) > 0).length / tokens.length
      : 0;
    const whose = row === undefined ? "by at least one head" : "by this head";
    root.setAttribute(
      "aria-label",
      `The text; ${Math.round(100 * share)} percent of its tokens are kept ${whose}`,
    );
  }
  function drawSoon(): void {
    if (drawing === 0) drawing = requestAnimationFrame(draw);
  }

  return {
    begin(prompt) {
      tokens = [...prompt];
      numPrompt = prompt.length;
      kept = undefined;
      root.scrollTop = 0;
      drawSoon();
    },
    push(token) {
      tokens.push(token);
      drawSoon();
    },
    show(next) {
      kept = next;
      drawSoon();
    },
    select(next) {
      row = next;
      drawSoon();
    },
  };
}
