import { expect, it } from "vitest";
import type { ApiError } from "./api-error.ts";
import { createFleet } from "./fleet.ts";
import type { ServedModel } from "./served-model.ts";

/** As much of a model as a fleet looks at. */
const modelWith = (id: string, sequences: number) =>
  ({ id, run: { limits: { sequences } } }) as unknown as ServedModel;

function fleetOf(maxQueue: number, ...places: number[]) {
  const fleet = createFleet({ maxQueue });
  for (const [i, sequences] of places.entries()) fleet.add(modelWith(`m${i}`, sequences));
  fleet.ready();
  return fleet;
}

it("without a queue, requests run as long as there is a place", () => {
  const fleet = fleetOf(0, 2);
  const [first] = [fleet.admit(null), fleet.admit(null)];
  const refused = () => fleet.admit(null);
  expect(refused).toThrow(expect.objectContaining({ status: 429, code: "queue_full" }));
  first!.leave();
  first!.leave();
  refused();
  expect(refused).toThrow(/2 requests are here/);
});

it("each model has a queue of its own behind its places", () => {
  const fleet = fleetOf(1, 1, 2);
  const admitted = (name: string) => {
    for (let count = 0; ; count++)
      try {
        fleet.admit(name);
      } catch (error) {
        expect(Number((error as ApiError).headers["retry-after"])).toBeGreaterThanOrEqual(1);
        return count;
      }
  };
  expect([admitted("m0"), admitted("m1")]).toEqual([2, 3]);
});

it("a drain is never taken back", async () => {
  const fleet = createFleet({ maxQueue: 1 });
  expect(fleet.phase).toBe("loading");
  expect(await fleet.drain(0)).toBe(0);
  fleet.ready();
  expect(fleet.phase).toBe("draining");
});
