// llama.cpp (npm's node-llama-cpp) and BareFlow in turns: the same synthetic weights, the same positions, greedy.
//
//   node peers.mjs NODE_MODULES BAREFLOW_BENCH FOLDER [--rounds N] [--model SHAPE] [TYPE ...]
//
// For each type and number of cores both generate 64 tokens and read a prompt, in rounds one after the other; ratios are of
// rounds in pairs, median and quartiles.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const oldestNode = 20; // node-llama-cpp 3's
if (Number(process.versions.node.split('.')[0]) < oldestNode) {
  console.error(`peers.mjs: node-llama-cpp needs Node.js ${oldestNode}, this is ${process.versions.node}; install a newer one`);
  process.exit(1);
}
const { values: options, positionals } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    model: { type: 'string', default: 'tinyllama-1.1b' },
    prompt: { type: 'string', default: '512' },
  },
  allowPositionals: true,
});
const [modules, bench, folder, ...types] = positionals;
const rounds = Number(options.rounds), promptTokens = Number(options.prompt);
const [firstPosition, span] = [8, 64]; // RunningModel's
const mostPromptRounds = 3; // they take long, and vary less

function quartiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => {
    const place = (sorted.length - 1) * share, below = Math.floor(place);
    return sorted[below] + ((sorted[below + 1] ?? sorted[below]) - sorted[below]) * (place - below);
  };
  return [at(0.5), at(0.25), at(0.75)];
}
const text = ([median, low, high], digits) =>
  `${median.toFixed(digits)} (${low.toFixed(digits)}-${high.toFixed(digits)})`;

/** bareflow-bench --turns: asked line by line. */
class Ours {
  constructor(model) {
    this.child = spawn(bench, ['--turns', '--model', model], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }
  async answer() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error('bareflow-bench ended');
    return JSON.parse(value);
  }
  async ask(line) {
    this.child.stdin.write(line + '\n');
    return this.answer();
  }
  generate = async (cores) => (await this.ask(`generate ${cores}`)).ns;
  prompt = async (cores) => (await this.ask(`prompt ${cores} ${promptTokens}`)).ns;
}

/** A context of llama.cpp's a number of cores. */
class Theirs {
  constructor(model) {
    this.model = model;
    this.sequences = new Map();
  }
  async sequence(cores) {
    if (!this.sequences.has(cores)) {
      const context = await this.model.createContext({
        contextSize: promptTokens + span, batchSize: promptTokens, threads: { ideal: cores, min: cores } });
      this.sequences.set(cores, context.getSequence());
    }
    const sequence = this.sequences.get(cores);
    await sequence.clearHistory();
    return sequence;
  }
  async generate(cores) {
    const sequence = await this.sequence(cores);
    const tokens = Array.from({ length: firstPosition }, (_, i) => (i === 0 ? 1 : 300 + i));
    let count = 0, began;
    for await (const _ of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
      if (count === 0) began = process.hrtime.bigint(); // the first one follows from the prompt
      if (count++ === span) break;
    }
    if (count <= span) throw new Error(`llama.cpp stopped after ${count} tokens`);
    return Number(process.hrtime.bigint() - began) / span;
  }
  async continuation(prompt) {
    const sequence = await this.sequence(1), tokens = [];
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true }))
      if (tokens.push(token) === firstPosition) break;
    return tokens;
  }
  async prompt(cores) {
    const sequence = await this.sequence(cores);
    const tokens = Array.from({ length: promptTokens }, (_, i) => (i * 7) % 32000 + (i === 0 ? 1 : 0));
    const began = process.hrtime.bigint();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens);
    return Number(process.hrtime.bigint() - began) / promptTokens;
  }
}

/** Whether both run the same model: how many of the tokens after a few prompts are the same. */
async function sameTokens(ours, theirs) {
  let same = 0, all = 0;
  for (const prompt of [[1, 300, 305], [1, 400, 350, 320, 310], [1, 261]]) {
    const mine = (await ours.ask(`continue ${prompt.join(' ')}`)).tokens, other = await theirs.continuation(prompt);
    for (let i = 0; i < mine.length && mine[i] === other[i]; ++i) ++same;
    all += mine.length;
  }
  return `${same} of ${all} greedy tokens alike`;
}

async function compare(what, cores, ours, theirs, count) {
  const a = [], b = [];
  for (let round = -1; round < count; ++round) {
    const mine = await ours(), other = await theirs();
    if (round < 0) continue; // contexts, routines and pages are made in it
    a.push(1e9 / mine);
    b.push(1e9 / other);
  }
  const ratio = quartiles(a.map((value, i) => value / b[i]));
  console.log(`   ${what}, ${cores} core${cores > 1 ? 's' : ''}: BareFlow ${text(quartiles(a), 2)} tok/s, ` +
    `llama.cpp ${text(quartiles(b), 2)} tok/s, ratio ${text(ratio, 2)}`);
}

const entry = createRequire(pathToFileURL(`${modules}/`)).resolve('node-llama-cpp');
const { getLlama } = await import(pathToFileURL(entry));
// Prebuilt or nothing: building llama.cpp here would measure this machine's compiler.
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
console.log(`llama.cpp of node-llama-cpp, ${llama.systemInfo}`);
for (const type of types.length ? types : ['q4_0', 'q8_0']) {
  const name = `${options.model}:${type}`, gguf = `${folder}/${options.model}-${type}.gguf`;
  if (!existsSync(gguf)) {
    execFileSync(bench, ['--gguf', `${gguf}.partial`, '--model', name], { stdio: 'inherit' });
    renameSync(`${gguf}.partial`, gguf);
  }
  const ours = new Ours(name);
  await ours.answer(); // ready
  const model = await llama.loadModel({ modelPath: gguf, useMmap: false });
  const theirs = new Theirs(model);
  console.log(` ${name}; ${(await ours.ask('placement')).placement}; ${await sameTokens(ours, theirs)}`);
  for (let cores = 1; cores <= Math.min(2, cpus().length); ++cores) {
    await compare('generation', cores, () => ours.generate(cores), () => theirs.generate(cores), rounds);
    await compare(`prompt of ${promptTokens}`, cores, () => ours.prompt(cores), () => theirs.prompt(cores),
      Math.min(rounds, mostPromptRounds));
  }
  ours.child.stdin.end();
  await model.dispose();
}
process.exit(0);
