// node train_tokenizer.js SAMPLE.txt tokenizer.json  (npm package `tokenizers`): byte-level BPE, 7,920 merges, 16 special tokens
const T = require("tokenizers"),
  fs = require("node:fs");
const PAT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const V = 8192,
  SP = ["<|bos|>", "<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"];
while (SP.length < 16) SP.push(`<|reserved_${SP.length - 6}|>`);
const base = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: PAT }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: {},
    merges: [],
  },
};
const tk = T.Tokenizer.fromString(JSON.stringify(base));
console.time("train");
tk.train([process.argv[2]]);
console.timeEnd("train");
tk.save(`${process.argv[3]}.raw`, false);
const j = JSON.parse(fs.readFileSync(`${process.argv[3]}.raw`));
console.log(
  "raw vocab",
  Object.keys(j.model.vocab).length,
  "merges",
  j.model.merges.length,
  j.model.merges.slice(0, 5),
  j.model.merges[5000],
);
const alpha = T.byteLevelAlphabet().sort();
const vocab = {};
for (const a of alpha) vocab[a] = Object.keys(vocab).length;
let n = 256;
const merges = [];
for (const m of j.model.merges) {
  if (n >= V - SP.length) break;
  const [a, b] = Array.isArray(m) ? m : m.split(" ");
  if (!(a in vocab) || !(b in vocab)) {
    console.log("skip", m);
    continue;
  }
  if (!(a + b in vocab)) {
    vocab[a + b] = n++;
  }
  merges.push([a, b]);
}
base.model.vocab = vocab;
base.model.merges = merges;
SP.forEach((s, i) => {
  const id = V - SP.length + i;
  base.added_tokens.push({
    id,
    content: s,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
});
console.log(Object.keys(base.model.vocab).length, merges.length);
fs.writeFileSync(process.argv[3], JSON.stringify(base));
