import { expect, it } from "vitest";
import { smallModel } from "./small-model.ts";
import { inputsOf, planValues } from "./value-slots.ts";

it.each([0, 1])("no node writes what somebody still reads, with %i taps", (numTaps) => {
  const { graph } = smallModel();
  const taps = [graph.nodes[1]!.out].slice(0, numTaps);
  const plan = planValues(graph, taps);
  // Replays the graph with the name of the value that each slot holds.
  const held = new Map<number, string>();
  const version = new Map<string, number>();
  graph.nodes.forEach((node, index) => {
    const { out, inputs } = plan.nodes[index]!;
    inputsOf(node).forEach((name, i) => {
      expect(held.get(inputs[i]!.slot), `${name} at node ${index}`).toBe(
        `${name}@${version.get(name)}`,
      );
      expect(inputs[i]!.slot, "in place").not.toBe(out.slot);
    });
    version.set(node.out, index);
    held.set(out.slot, `${node.out}@${index}`);
    expect(plan.slotWidths[out.slot]).toBeGreaterThanOrEqual(out.width);
  });
  for (const [name, { slot }] of plan.final)
    expect(held.get(slot)).toBe(`${name}@${version.get(name)}`);
  expect(plan.slotWidths.length).toBeLessThan(12);
});
