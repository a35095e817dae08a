// node encode.js tokenizer.json CORPUS: CORPUS/train/*.txt -> CORPUS/bin_train/*.bin (uint16, <|bos|> before each document); likewise eval
const T = require("tokenizers"),
  fs = require("node:fs"),
  _path = require("node:path");
const tk = T.Tokenizer.fromFile(process.argv[2]);
const BOS = tk.tokenToId("<|bos|>");
console.log("bos", BOS);
const C = process.argv[3];
(async () => {
  let tot = 0,
    bytes = 0;
  for (const s of ["train", "eval"])
    for (const f of fs
      .readdirSync(`${C}/${s}`)
      .filter((x) => x.endsWith(".txt"))
      .sort()) {
      const docs = fs.readFileSync(`${C}/${s}/${f}`, "utf8").split("\0");
      bytes += fs.statSync(`${C}/${s}/${f}`).size;
      const chunks = [],
        starts = [];
      for (const d of docs) {
        let i = 0;
        let first = true;
        while (i < d.length) {
          let e = Math.min(d.length, i + 6000);
          if (e < d.length) {
            const k = d.indexOf("\n\n", e);
            if (k < 0) e = d.length;
            else {
              e = k;
              while (e < d.length && /\s/.test(d[e])) e++;
            }
          }
          chunks.push(d.slice(i, e));
          starts.push(first);
          first = false;
          i = e;
        }
      }
      const parts = [];
      for (let i = 0; i < chunks.length; i += 512) {
        const r = await tk.encodeBatch(chunks.slice(i, i + 512), { addSpecialTokens: false });
        r.forEach((x, j) => {
          const ids = x.getIds();
          const a = new Uint16Array(ids.length + (starts[i + j] ? 1 : 0));
          let o = 0;
          if (starts[i + j]) a[o++] = BOS;
          a.set(ids, o);
          parts.push(Buffer.from(a.buffer));
        });
      }
      const b = Buffer.concat(parts);
      fs.mkdirSync(`${C}/bin_${s}`, { recursive: true });
      fs.writeFileSync(`${C}/bin_${s}/${f.replace(".txt", ".bin")}`, b);
      tot += b.length / 2;
    }
  console.log("tokens", tot, "bytes", bytes, "bytes/token", bytes / tot);
})();
