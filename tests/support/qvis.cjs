// Loads qlog files with qvis's own loader, and prints what its graphs would find in each, as JSON.
// node qvis.cjs DATA TYPESCRIPT FILE...   DATA: qvis's src/src/lib/data; TYPESCRIPT: the compiler's module.
const fs = require("fs"), os = require("os"), path = require("path");
const [data, compiler, ...files] = process.argv.slice(2);
const ts = require(compiler);
const complaints = [];
globalThis.alert = (text) => complaints.push(String(text));
console.error = console.warn = (...words) => complaints.push(words.map(String).join(" "));
console.log = () => {};

// Types taken off, modules as node's own: imports without endings then need no bundler.
const made = fs.mkdtempSync(path.join(os.tmpdir(), "qvis-"));
for (const entry of fs.readdirSync(data, { recursive: true }).filter((name) => name.endsWith(".ts"))) {
  const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const text = ts.transpileModule(fs.readFileSync(path.join(data, entry), "utf8"), { compilerOptions: options });
  const target = path.join(made, entry.replace(/\.ts$/, ".js"));
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, text.outputText);
}
const Sequence = require(path.join(made, "newlineconverter/textsequencejsontoqlog.js")).default;
const { QlogLoaderV2 } = require(path.join(made, "QlogLoaderV2.js"));

async function found(file) {
  const json = await Sequence.convert(new Response(new Blob([fs.readFileSync(file)])).body);
  const [connection] = QlogLoaderV2.fromJSON(json).getConnections();
  connection.setupLookupTable();
  const look = (category, name) => connection.lookup(category, name);
  const packets = [...look("transport", "packet_sent"), ...look("transport", "packet_received")];
  const frames = packets.flatMap((event) => event.data.frames);
  const metrics = look("recovery", "metrics_updated");
  return {
    vantage_point: connection.getVantagePointPerspective(),
    events: connection.getEvents().length,
    sent: look("transport", "packet_sent").length,
    received: look("transport", "packet_received").length,
    lost: look("recovery", "packet_lost").length,
    streams: [...new Set(frames.filter((f) => f.frame_type === "stream").map((f) => f.stream_id))],
    windows: metrics.filter((event) => typeof event.data.congestion_window === "number").length,
    in_flight: metrics.filter((event) => typeof event.data.bytes_in_flight === "number").length,
  };
}

(async () => {
  const all = [];
  for (const file of files) all.push(await found(file));
  fs.rmSync(made, { recursive: true });
  process.stdout.write(JSON.stringify({ files: all, complaints }));
})();
