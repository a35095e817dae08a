/**
 * Several engines over one backend that run one at a time, so that all meet the same machine: the one
 * that is furthest behind with its work has the turn, and the clocks of the others stand still.
 * A turn lasts until `slice` of the engine's whole work is done.
 */
export function takingTurns(names, slice = 1 / 128) {
  const runners = new Map(
    names.map((name) => [name, { milliseconds: 0, done: 0, until: 0, go: undefined }]),
  );
  let current;
  let since = 0;

  function pass() {
    const now = performance.now();
    if (current) current.milliseconds += now - since;
    since = now;
    const waiting = [...runners.values()].filter(({ go }) => go !== undefined);
    current = waiting.sort((a, b) => a.done - b.done)[0];
    if (!current) return;
    current.until = current.done + slice;
    const { go } = current;
    current.go = undefined;
    go();
  }

  /** Resolves when it is the engine's turn. */
  function enter(name) {
    const runner = runners.get(name);
    if (current === runner && runner.done < runner.until) return;
    return new Promise((resolve) => {
      runner.go = resolve;
      if (current === undefined || current === runner) pass();
    });
  }

  return {
    /** Milliseconds that the engine has had so far. */
    clock(name) {
      const runner = runners.get(name);
      return runner.milliseconds + (current === runner ? performance.now() - since : 0);
    },
    /** `part` of its whole work is done, besides what was done before. */
    progress(name, part) {
      runners.get(name).done += part;
    },
    /** Part of all work that is done. */
    done: () => [...runners.values()].reduce((sum, { done }) => sum + done, 0) / runners.size,
    /** The engine has nothing more to do. */
    leave(name) {
      if (current === runners.get(name)) pass();
    },
    /** The backend as one engine sees it: every pass and every submit waits for the engine's turn. */
    backend(name, shared) {
      const inTurn =
        (run) =>
        async (...args) => {
          await enter(name);
          return run(...args);
        };
      return {
        ...shared,
        attach(cache) {
          const session = shared.attach(cache);
          return {
            ...session,
            async load(...args) {
              const model = await session.load(...args);
              const passes = ["forward", "choose", "draw"].filter((pass) => model[pass]);
              return {
                ...model,
                ...Object.fromEntries(passes.map((pass) => [pass, inTurn(model[pass])])),
              };
            },
            encoder() {
              const encoder = session.encoder();
              return { ...encoder, submit: inTurn(encoder.submit) };
            },
          };
        },
      };
    },
  };
}
