/** The same backend; `inside()` tells for how many milliseconds its runs have kept callers waiting. */
export function timedBackend(backend) {
  let inside = 0;
  const timed =
    (run) =>
    async (...args) => {
      const began = performance.now();
      try {
        return await run(...args);
      } finally {
        inside += performance.now() - began;
      }
    };
  return {
    ...backend,
    inside: () => inside,
    attach(cache) {
      const session = backend.attach(cache);
      return {
        ...session,
        async load(...args) {
          const model = await session.load(...args);
          const passes = ["forward", "choose", "draw"].filter((name) => model[name]);
          return {
            ...model,
            ...Object.fromEntries(passes.map((name) => [name, timed(model[name])])),
          };
        },
        encoder() {
          const encoder = session.encoder();
          return { ...encoder, submit: timed(encoder.submit) };
        },
      };
    },
  };
}
