import type { SequenceSlot } from "@kvcache/core";
import type {
  GenerationEvent,
  GenerationRequest,
  GenerationStream,
  TraceEvent,
} from "@kvcache/engine";
import type { Assembled } from "../../assemble.ts";
import { blockCells, blocksPerCell, totalBlocks } from "./block-cells.ts";
import { cellOwner, type Frame, type Hello, type KeptTokens } from "./frame.ts";
import { type KeptBits, keptBits } from "./kept-bits.ts";
import { RequestRecord } from "./request-record.ts";
import { createTimeline } from "./timeline.ts";

export interface InspectorOptions {
  /** Whether whoever looks may read prompts and answers. */
  readonly showText: boolean;
}

/** What can be seen of one model at work. */
export interface ModelInspector {
  /** Takes the engine's trace. */
  readonly sink: (event: TraceEvent) => void;
  watch(run: Assembled): void;
  /** Starts a request; the trace's events until it returns, and its tokens, are known as its own. */
  generate(request: GenerationRequest, start: () => GenerationStream): GenerationStream;
  hello(): Omit<Hello, "model" | "models">;
  frame(): Frame;
  /** Undefined for a request that is not remembered. */
  kept(id: number): KeptTokens | undefined;
}

/** Ended requests that are remembered, and bytes of their kept positions. */
const MAX_RECORDS = 50;
const MAX_BITS_BYTES = 16 * 2 ** 20;
const SAMPLE_MS = 500;

export function createModelInspector({ showText }: InspectorOptions): ModelInspector {
  /** Oldest first. */
  const records: RequestRecord[] = [];
  const bySequence = new Map<number, RequestRecord>();
  const slots = new Map<number, SequenceSlot>();
  const timeline = createTimeline();
  let starting: RequestRecord | undefined;
  let run: Assembled | undefined;
  let numRequests = 0;
  let timer: NodeJS.Timeout | undefined;

  function forgetOldest(): void {
    const ended = records.filter(({ open }) => open.size === 0);
    for (const record of ended.slice(0, Math.max(0, ended.length - MAX_RECORDS)))
      records.splice(records.indexOf(record), 1);
    let bytes = 0;
    for (const record of ended.toReversed()) {
      bytes += record.bits?.bytes.length ?? 0;
      if (bytes > MAX_BITS_BYTES) record.bits = undefined;
    }
  }

  /** Samples as long as something runs. */
  function keepTime(): void {
    timer ??= setInterval(() => {
      const stats = run!.engine.stats();
      timeline.take(stats);
      if (stats.running + stats.waiting > 0) return;
      clearInterval(timer);
      timer = undefined;
    }, SAMPLE_MS).unref();
  }

  function ended(
    record: RequestRecord,
    { sequence, reason }: Extract<TraceEvent, { type: "finish" }>,
  ) {
    const host = run?.cache.host;
    if (record.first === sequence) {
      record.look(run!.cache);
      // The slot is still open: this is the last moment to see what it held.
      if (record.slot !== undefined && record.compression && host)
        record.bits = keptBits(host, record.slot);
      record.slot = undefined;
    }
    record.open.delete(sequence);
    bySequence.delete(sequence);
    if (record.open.size === 0) record.state = reason;
    forgetOldest();
  }

  function sink(event: TraceEvent): void {
    if (event.type === "queue" && starting) {
      starting.first ??= event.sequence;
      starting.promptTokens = event.tokens;
      starting.open.add(event.sequence);
      bySequence.set(event.sequence, starting);
      keepTime();
    }
    if (event.type === "fork") {
      const parent = bySequence.get(event.parent);
      if (parent) bySequence.set(event.sequence, parent);
      parent?.open.add(event.sequence);
    }
    const record = "sequence" in event ? bySequence.get(event.sequence) : undefined;
    if (!record) return;
    if (event.type === "admit" || event.type === "fork") {
      if (event.slot === undefined) return;
      slots.set(event.sequence, event.slot);
      if (event.type === "admit" && record.first === event.sequence) {
        record.slot = event.slot;
        record.cachedTokens ||= event.reused;
      }
      record.state = "running";
    } else if (event.type === "compress") record.compressed(event);
    else if (event.type === "preempt") {
      slots.delete(event.sequence);
      if (record.first === event.sequence) record.slot = undefined;
      record.state = "preempted";
    } else if (event.type === "finish") {
      slots.delete(event.sequence);
      ended(record, event);
    }
  }

  async function* counted(
    stream: GenerationStream,
    record: RequestRecord,
  ): AsyncGenerator<GenerationEvent> {
    for await (const event of stream) {
      if (event.type === "token") record.token(event, showText);
      else record.end(event);
      yield event;
    }
  }

  return {
    sink,
    watch(assembled) {
      run = assembled;
      timeline.take(run.engine.stats());
    },
    generate(request, start) {
      const record = new RequestRecord(numRequests++, request);
      starting = record;
      try {
        const stream = start();
        records.push(record);
        const { result, promptLogprobs } = stream;
        const events = () => counted(stream, record);
        return {
          result,
          promptLogprobs,
          get cachedTokens() {
            return stream.cachedTokens;
          },
          [Symbol.asyncIterator]: events,
        };
      } finally {
        starting = undefined;
      }
    },
    hello() {
      const { cache } = run!;
      const numBlocks = totalBlocks(cache);
      return {
        numLayers: cache.layout.shape.numLayers,
        numKvHeads: cache.layout.shape.numKvHeads,
        blockSize: cache.layout.arenas[0]!.blockSize,
        numBlocks,
        capacityBytes: cache.stats().capacityBytes,
        blocksPerCell: blocksPerCell(numBlocks),
        showsText: showText,
        samples: timeline.samples,
      };
    },
    frame() {
      const { cache, engine } = run!;
      const stats = engine.stats();
      const last = timeline.samples.at(-1)!;
      const owners = records
        .filter(({ open }) => open.size > 0)
        .slice(0, 255 - cellOwner.firstRequest);
      const ownerOf = new Map(owners.map((record, i) => [record, cellOwner.firstRequest + i]));
      const held = new Map<SequenceSlot, number>();
      for (const [sequence, slot] of slots) {
        const owner = ownerOf.get(bySequence.get(sequence)!);
        if (owner !== undefined) held.set(slot, owner);
      }
      for (const record of records) record.look(cache);
      const { arenas } = stats.cache;
      return {
        sample: Date.now() - last.time >= SAMPLE_MS && !timer ? timeline.take(stats) : last,
        running: stats.running,
        waiting: stats.waiting,
        heldBlocks: arenas.reduce(
          (n, a) => n + a.totalBlocks - a.freeBlocks - a.reclaimableBlocks,
          0,
        ),
        reclaimableBlocks: arenas.reduce((n, a) => n + a.reclaimableBlocks, 0),
        totalPromptTokens: stats.promptTokens,
        totalGeneratedTokens: stats.generatedTokens,
        totalEvicted: stats.evictedEntries,
        requests: records.map(({ row }) => row).reverse(),
        cells: Buffer.from(blockCells(cache, held)).toString("base64"),
        owners: owners.map(({ id }) => id),
      };
    },
    kept(id) {
      const record = records.find((one) => one.id === id);
      if (!record) return undefined;
      const { cache } = run!;
      const { numLayers, numKvHeads } = cache.layout.shape;
      const live = record.compression && record.slot !== undefined && cache.host;
      const bits: KeptBits | undefined = live ? keptBits(cache.host, record.slot!) : record.bits;
      const fed = record.promptTokens + Math.max(0, record.generatedTokens - 1);
      return {
        id,
        promptTokens: record.promptTokens,
        positions: bits?.positions ?? fed,
        numLayers,
        numKvHeads,
        rows: bits ? Buffer.from(bits.bytes).toString("base64") : null,
        texts: showText ? tokenTexts(record) : null,
        known: bits !== undefined || record.compression === undefined,
      };
    },
  };

  function tokenTexts({ prompt, generatedIds }: RequestRecord): readonly string[] | null {
    const tokenizer = run!.model.tokenizer;
    if (!tokenizer || (typeof prompt === "object" && "messages" in prompt)) return null;
    const ids = typeof prompt === "string" ? tokenizer.encode(prompt) : prompt;
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const textOf = (id: number) => decoder.decode(tokenizer.tokenBytes(id) ?? new Uint8Array());
    return [...Array.from(ids, textOf), ...generatedIds.map(textOf)];
  }
}
