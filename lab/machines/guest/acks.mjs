// acks.mjs: a writer whose word can be checked.
//   acks.mjs write FOLDER KIB   writes files f0, f1 … of KIB random KiB until it is stopped; prints "index sha256" only
//                               after the fsync of the file and of the folder
//   acks.mjs verify FOLDER      takes such lines, prints {"ok","wrong","missing"}
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';

const [mode, folder, kib] = process.argv.slice(2);
const hash = (data) => createHash('sha256').update(data).digest('hex');

if (mode === 'write') {
  const directory = openSync(folder, 'r');
  for (let index = 0; ; index++) {
    const data = randomBytes(Number(kib) * 1024);
    const file = openSync(`${folder}/f${index}`, 'w');
    writeSync(file, data);
    fsyncSync(file);
    closeSync(file);
    fsyncSync(directory);
    writeSync(1, `${index} ${hash(data)}\n`);
  }
}
const count = { ok: 0, wrong: 0, missing: 0 };
for (const line of readFileSync(0, 'utf8').split('\n')) {
  const [index, expected] = line.split(' ');
  if (!expected) continue;
  try {
    if (hash(readFileSync(`${folder}/f${index}`)) === expected) count.ok += 1;
    else count.wrong += 1;
  } catch {
    count.missing += 1;
  }
}
console.log(JSON.stringify(count));
