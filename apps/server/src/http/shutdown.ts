import { constants } from "node:os";

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Runs `stop` on the first SIGTERM or SIGINT and sets the exit status that it returns; a second
 * signal meanwhile ends the process at once, with 128 + its number.
 */
export function onSignals(stop: (signal: NodeJS.Signals) => Promise<number>): Promise<void> {
  return new Promise((resolve, reject) => {
    let stopping = false;
    const onSignal = (signal: NodeJS.Signals) => {
      if (stopping) process.exit(128 + constants.signals[signal]);
      stopping = true;
      stop(signal)
        .then((status) => {
          process.exitCode = status;
          resolve();
        }, reject)
        .finally(() => {
          for (const one of signals) process.off(one, onSignal);
        });
    };
    for (const signal of signals) process.on(signal, onSignal);
  });
}
