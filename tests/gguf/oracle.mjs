// llama.cpp (npm's node-llama-cpp) beside BareFlow on the same GGUF files: the logits of a text, in every type of weights.
//
//   node oracle.mjs NODE_MODULES BUILD_HOST FOLDER
//
// A file of each type has all matrices in it; llama.cpp rounds what meets them to 8 bits, so logits differ by some tenths, and
// the likeliest token must be the same where it leads by more. A second file has the embedding alone in it, which llama.cpp
// decodes to f32, and all else in f32: there logits must be the same but for rounding. The files are the default model, twice
// as wide (doubled_model.h).
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, host, folder] = process.argv.slice(2);
const types = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'q4_k_m'];
const text = 'Once upon a time, there was a little dog named Tom. He wanted to find a new friend, so he ran to the big forest.';
const exact = 2e-4; // f32 sums in another order
const farthest = { f32: exact, f16: 0.05, bf16: 0.25 }; // else:
const quantised = 2, typical = 0.2; // the largest difference, and the root mean square
const versions = [1, 2, 3];

const entry = createRequire(pathToFileURL(`${modules}/`)).resolve('node-llama-cpp');
const { getLlama } = await import(pathToFileURL(entry));
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
mkdirSync(folder, { recursive: true });

function make(name, ...options) {
  const path = `${folder}/${name}.gguf`;
  execFileSync(`${host}/make-gguf`, ['-o', path, '--doubled', ...options]);
  return path;
}

/** Logits after each token of the text, as llama.cpp has them. */
async function theirs(path) {
  const model = await llama.loadModel({ modelPath: path, useMmap: false });
  const tokens = [model.tokens.bos, ...model.tokenize(text)];
  const context = await model.createContext({ contextSize: 512, batchSize: 512, threads: 2, flashAttention: false,
    experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' });
  const results = await context.getSequence().controlledEvaluate(
    tokens.map((token) => [token, { generateNext: { logits: true, options: { temperature: 0 } } }]));
  const logits = results.map(({ next }) => {
    const row = new Float64Array(next.logits.size);
    for (const [token, value] of next.logits) row[token] = value;
    return row;
  });
  await model.dispose();
  return { tokens, logits };
}
/** The same as make-gguf --logits has them: through bareflow-import's reader, in f32. */
function ours(path, tokens) {
  const lines = execFileSync(`${host}/make-gguf`, ['--logits', path], { input: tokens.join(' '), maxBuffer: 1 << 28 });
  return lines.toString().trim().split('\n').map((line) => Float64Array.from(line.trim().split(' ').map(Number)));
}

function compare(a, b) {
  let largest = 0, squares = 0, count = 0, alike = 0, contradictions = 0;
  a.forEach((row, i) => {
    const best = (values) => values.indexOf(Math.max(...values));
    let here = 0;
    row.forEach((value, j) => {
      const difference = Math.abs(value - b[i][j]);
      here = Math.max(here, difference);
      squares += difference * difference;
      ++count;
    });
    largest = Math.max(largest, here);
    const mine = best(row), other = best(b[i]);
    if (mine === other) ++alike;
    else if (row[mine] - row[other] > 2 * here) ++contradictions;
  });
  return { largest, rms: Math.sqrt(squares / count), alike, contradictions, steps: a.length };
}

let failed = false;
function tell(what, { largest, rms, alike, steps, contradictions }, mostLargest, mostRms) {
  const good = largest <= mostLargest && rms <= mostRms && contradictions === 0;
  failed ||= !good;
  console.log(`${good ? 'ok  ' : 'FAIL'} ${what.padEnd(26)} logits differ by ${largest.toExponential(1)} at most, rms ` +
    `${rms.toExponential(1)}; the same token at ${alike} of ${steps} steps`);
}
async function check(name, limit, rms, ...options) {
  const path = make(name, ...options), other = await theirs(path);
  tell(`${name} ${(statSync(path).size / 1024).toFixed(0)} KiB`, compare(ours(path, other.tokens), other.logits), limit, rms);
  return other.tokens;
}

console.log(`llama.cpp of node-llama-cpp, ${llama.systemInfo}`);
for (const type of types) {
  await check(`${type}-embedding`, exact, exact, '--type', type, '--embedding-only');
  await check(type, farthest[type] ?? quantised, farthest[type] ?? typical, '--type', type);
}
await check('f32-scaled', exact, exact, '--rope-scaling', '4');
// llama.cpp has given up version 1; ours reads the same of it.
const tokens = await check('f32-v2', exact, exact, '--version', '2');
const rows = versions.map((version) => ours(make(`f32-v${version}`, '--version', String(version)), tokens));
for (const version of [1, 2]) tell(`version ${version} and 3`, compare(rows[version - 1], rows[2]), 0, 0);
process.exit(failed ? 1 : 0);
