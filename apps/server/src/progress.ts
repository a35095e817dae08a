import ora from "ora";

/** A line on standard error that says what is going on; silent where nobody watches. */
export interface Progress {
  say(message: string): void;
  done(message?: string): void;
}

const silent: Progress = { say: () => {}, done: () => {} };

/** Without a terminal: a plain line when the work changes, at most every two seconds. */
function plainProgress(): Progress {
  let last = 0;
  return {
    say(message) {
      if (Date.now() - last < 2000) return;
      last = Date.now();
      process.stderr.write(`${message} …\n`);
    },
    done(message) {
      if (message) process.stderr.write(`${message}\n`);
    },
  };
}

export function progress(quiet = false): Progress {
  if (quiet) return silent;
  if (!process.stderr.isTTY) return plainProgress();
  const spinner = ora({ stream: process.stderr, discardStdin: false });
  return {
    say(message) {
      spinner.text = message;
      if (!spinner.isSpinning) spinner.start();
    },
    done(message) {
      if (message) spinner.succeed(message);
      else spinner.stop();
    },
  };
}
