import {
  choice,
  jsonSchemaGrammar,
  one,
  type Rule,
  type Sequence,
  type TokenGrammar,
  text,
} from "@kvcache/decoder";
import { invalidField, unsupportedField } from "../api-error.ts";
import type { ChatRequest, ChatTool } from "../schemas/chat.ts";
import type { ServedModel } from "../served-model.ts";
import type { ToolFormat } from "./tool-format.ts";

/** What a chat request makes of its tools. */
export interface ToolUse {
  /** What the template is told. */
  readonly tools: readonly ChatTool[];
  readonly format: ToolFormat;
  /** Where a call is required: begins the answer in the model's stead, and the rest of it. */
  readonly forced: { readonly begin: string; readonly grammar: TokenGrammar } | undefined;
  readonly maxCalls: number;
}

/**
 * Undefined where a request has no tools, or chooses none. Throws a 400 for a model whose template
 * knows no tools.
 */
export function toolUseOf(body: ChatRequest, model: ServedModel): ToolUse | undefined {
  const { tools, tool_choice: wanted, parallel_tool_calls: parallel } = body;
  const forced =
    wanted === "required" || typeof wanted === "object" ? (wanted ?? undefined) : undefined;
  if (!tools?.length) {
    if (forced) throw invalidField("tool_choice", "tool_choice needs tools.");
    return undefined;
  }
  const { toolFormat: format } = model;
  if (!format)
    throw unsupportedField(
      "tools",
      `The chat template of ${model.id} defines no calls of tools that can be read back.`,
    );
  if (wanted === "none") return undefined;
  if (!forced && tools.some((tool) => tool.function.strict))
    throw unsupportedField(
      "tools",
      'strict arguments are enforced with tool_choice "required" or a named function only.',
    );
  const maxCalls = parallel === false || forced ? 1 : Number.POSITIVE_INFINITY;
  if (!forced) return { tools, format, forced: undefined, maxCalls };
  const callable = forced === "required" ? tools : tools.filter(isNamed(forced.function.name));
  if (callable.length === 0)
    throw invalidField("tool_choice", "tool_choice names a function that is not among the tools.");
  const grammar = model.structured.compiled(
    `call ${JSON.stringify([format, callable.map((tool) => tool.function)])}`,
    "tools",
    () => callGrammar(callable, format),
  );
  return { tools, format, forced: { begin: format.begin, grammar }, maxCalls };
}

const isNamed = (name: string) => (tool: ChatTool) => tool.function.name === name;

/** One call of any of the functions, as the template writes it, behind its beginning. */
function callGrammar(tools: readonly ChatTool[], format: ToolFormat): Rule {
  const key = (name: string) => text(`${JSON.stringify(name)}: `);
  const alternatives = tools.map(({ function: { name, parameters } }): Sequence => {
    const given = one(jsonSchemaGrammar({ type: "object", ...parameters }));
    return [
      ...text("{"),
      ...key(format.nameKey),
      ...text(JSON.stringify(name)),
      ...text(", "),
      ...key(format.argumentsKey),
      given,
      ...text("}"),
    ];
  });
  return { alternatives: [[choice(...alternatives), ...text(format.end.trimEnd())]] };
}
