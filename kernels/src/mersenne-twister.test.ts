import { expect, it } from "vitest";
import { mersenneTwister } from "./mersenne-twister.ts";

it("gives the published outputs", () => {
  // The authors' default seed: outputs 1, 2 and 10,000 (the C++ standard names the last one).
  const next = mersenneTwister(5489);
  const outputs = Array.from({ length: 10_000 }, next);
  expect([outputs[0], outputs[1], outputs[9999]]).toEqual([3499211612, 581869302, 4123659995]);
  expect(mersenneTwister(42)()).toBe(1608637542);
});
