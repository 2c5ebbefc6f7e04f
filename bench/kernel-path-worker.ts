/** One process of kernel-path.ts: reads how often from standard input, does it, answers a line; ends with its input. */
import { mkdirSync, rmdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { kernelCallsHere } from '../src/host/kernel/calls.ts';

const folder = process.argv[2] ?? '';
const kernel = kernelCallsHere();

function once(): void {
  const file = `${folder}/data.img`;
  const staging = `${folder}/staging`;
  const target = `${folder}/target`;
  const loop = kernel.attachLoop(file);
  mkdirSync(staging);
  kernel.mount({ source: loop.device, target: staging, filesystem: 'ext4' });
  mkdirSync(target);
  kernel.bindMount(staging, target);
  kernel.unmount(target);
  rmdirSync(target);
  kernel.unmount(staging);
  rmdirSync(staging);
  kernel.detachLoop(loop.device, loop.backingFile);
}

once();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  for (let left = Number(line); left > 0; left--) once();
  console.log('done');
}
