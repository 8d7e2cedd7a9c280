// Prints what a browser fetches for the first picture of each entrance, gzipped, from the manifest of the last build.
// The budget holds for the first route: what somebody sees who opens the address and is not signed in yet.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const budget = { bytes: 120 * 1024, requests: 6 };
const dist = new URL('../dist/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'));

function filesOf(keys) {
  const files = new Set(['index.html']);
  const seen = new Set();
  const visit = (key) => {
    if (seen.has(key)) return;
    seen.add(key);
    const chunk = manifest[key];
    files.add(chunk.file);
    for (const css of chunk.css ?? []) files.add(css);
    for (const next of chunk.imports ?? []) visit(next);
  };
  for (const key of keys) visit(key);
  return [...files];
}

const find = (source) => {
  const key = Object.keys(manifest).find((each) => manifest[each].src === source);
  if (!key) throw new Error(`no chunk of ${source} in the manifest`);
  return key;
};

const entry = find('index.html');
const dashboard = [entry, find('src/app/Dashboard.tsx'), find('src/kit/i18n/locales/en/rest.ts')];
const entrances = [
  { name: 'sign in, register, set up', keys: [entry], calls: ['auth/setup'], budget },
  { name: 'projects (signed in)', keys: dashboard, calls: ['me', 'projects'] },
];

let over = false;
for (const entrance of entrances) {
  const files = filesOf(entrance.keys);
  const sizes = files.map((file) => [file, gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length]);
  const total = sizes.reduce((sum, [, size]) => sum + size, 0);
  const requests = files.length + entrance.calls.length;
  console.log(`${entrance.name}: ${(total / 1024).toFixed(1)} KB gzip, ${requests} requests`);
  for (const [file, size] of sizes) console.log(`  ${(size / 1024).toFixed(1).padStart(6)} KB  ${file}`);
  console.log(`   calls:  ${entrance.calls.join(', ')}`);
  if (entrance.budget && (total > entrance.budget.bytes || requests > entrance.budget.requests)) {
    over = true;
    console.log(`  over the budget of ${entrance.budget.bytes / 1024} KB and ${entrance.budget.requests} requests`);
  }
}
process.exitCode = over ? 1 : 0;
