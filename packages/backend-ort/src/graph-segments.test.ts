import { expect, test } from "vitest";
import { cutAtAttention } from "./graph-segments.ts";
import { singleAssignment } from "./single-assignment.ts";
import { randomDecoder } from "./test-decoder.ts";

const { graph } = randomDecoder({});

test("every value is written once, and readers mean the last writer", () => {
  const { nodes, output } = singleAssignment(graph).graph;
  const names = nodes.map((node) => node.out);
  expect(new Set(names).size).toBe(nodes.length);
  expect(output).toBe(names.at(-1));
  const sums = nodes.filter((node) => node.op === "add");
  sums.slice(1).forEach((sum, i) => {
    expect(sum.op === "add" && sum.a).toBe(sums[i]!.out);
  });
});

test("a value that nobody wrote is refused", () => {
  const nodes = graph.nodes.filter((node) => node.op !== "embed");
  expect(() => singleAssignment({ ...graph, nodes })).toThrow(/reads x/);
  expect(() => singleAssignment(graph, ["x", "nobody"])).toThrow(/no value nobody/);
});

test("taps mean the last writer and leave their segment", () => {
  const { graph: single, taps } = singleAssignment(graph, ["x", "a"]);
  const lastOf = (op: string) => single.nodes.findLast((node) => node.op === op)!.out;
  expect(taps).toEqual([lastOf("add"), lastOf("pagedAttention")]);
  const last = cutAtAttention(single, taps).at(-1)!;
  expect(last.kind === "dense" && last.outputs).toEqual([taps[0], single.output]);
});

test("segments pass on exactly what later ones read", () => {
  const segments = cutAtAttention(singleAssignment(graph).graph);
  expect(segments.map(({ kind }) => kind)).toEqual([
    "dense",
    "attention",
    "dense",
    "attention",
    "dense",
  ]);
  const written = new Set<string>();
  for (const segment of segments) {
    if (segment.kind === "attention") {
      written.add(segment.node.out);
      continue;
    }
    for (const name of segment.inputs) expect(written).toContain(name);
    for (const name of segment.outputs) written.add(name);
  }
  const last = segments.at(-1)!;
  expect(last.kind === "dense" && last.outputs).toEqual([singleAssignment(graph).graph.output]);
});
