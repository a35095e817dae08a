import { expect, test } from "vitest";
import { ModelRun } from "./__fixtures__/model-run.ts";

const operations = Math.max(100_000, Number(process.env.FC_RUNS ?? 0));
const perRun = 5_000;

test(`a paged cache behaves like the naive model over ${operations} operations`, {
  timeout: 60_000 + operations / 2,
}, async () => {
  const counts = new Map<string, number>();
  for (let run = 0; run * perRun < operations; run++) {
    const model = new ModelRun(0x5eed + run);
    try {
      for (let i = 0; i < perRun; i++) {
        await model.step();
        if (i % 50 === 0) model.checkAll();
      }
      model.checkAll();
      model.finish();
    } catch (error) {
      throw new Error(`Run ${run}: ${(error as Error).message}`, { cause: error });
    }
    for (const [name, count] of model.counts) counts.set(name, (counts.get(name) ?? 0) + count);
  }
  // The run means something only if everything happened, failures for want of blocks included.
  for (const name of ["compact", "truncate", "fork", "export", "publish", "release", "unshare"])
    expect(counts.get(name), name).toBeGreaterThan(500);
  for (const name of ["adopted", "adopted compressed", "append out of blocks"])
    expect(counts.get(name), name).toBeGreaterThan(300);
  for (const name of ["fork", "compact", "export", "reserve"])
    expect(counts.get(`${name} out of blocks`), `${name} out of blocks`).toBeGreaterThan(10);
});
