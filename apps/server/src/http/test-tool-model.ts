import { mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelUrl } from "@kvcache/model-tiny";

/** A template in the manner of Hermes: what is called is JSON between two marks. */
const template = `{{ '<|bos|>' }}{% if tools %}<|user|>Tools: {{ tools | tojson }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' %}{{ '<|assistant|>' + m.content }}
{%- for c in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' }}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}{{ '\\n</tool_call>' }}{% endfor %}{{ '<|eos|>' }}
{%- else %}{{ '<|user|>' + m.content }}{% endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}`;

/** A folder with the shipped model under a chat template that knows tools. */
export async function toolModelFolder(): Promise<string> {
  const shipped = fileURLToPath(modelUrl);
  const folder = await mkdtemp(join(tmpdir(), "kvcache-tool-model-"));
  for (const file of await readdir(shipped))
    if (file !== "tokenizer_config.json") await symlink(join(shipped, file), join(folder, file));
  const config = JSON.parse(await readFile(join(shipped, "tokenizer_config.json"), "utf8"));
  const changed = { ...config, chat_template: template };
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(changed));
  return folder;
}
