#!/usr/bin/env node
import { Command } from "commander";
import { registerChat } from "./commands/chat.ts";
import { registerConvert } from "./commands/convert.ts";
import { registerDemo } from "./commands/demo.ts";
import { registerEval } from "./commands/eval.ts";
import { registerExplain } from "./commands/explain.ts";
import { registerGenerate } from "./commands/generate.ts";
import { registerInspect } from "./commands/inspect.ts";
import { registerPolicies } from "./commands/policies.ts";
import { registerProfile } from "./commands/profile.ts";
import { registerReport } from "./commands/report.ts";
import { registerServe } from "./commands/serve.ts";
import { registerTokenize } from "./commands/tokenize.ts";

// Whoever reads our output may stop reading (kvcache policies | head).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

const program = new Command("kvcache")
  .description("A language model whose KV cache is compressed, with the memory really given back.")
  .showHelpAfterError("(kvcache --help lists the commands)")
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

for (const register of [
  registerServe,
  registerDemo,
  registerGenerate,
  registerChat,
  registerInspect,
  registerExplain,
  registerPolicies,
  registerTokenize,
  registerEval,
  registerReport,
  registerProfile,
  registerConvert,
])
  register(program);

if (process.argv.length <= 2) program.outputHelp();
else await program.parseAsync();
