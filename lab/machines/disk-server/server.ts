/**
 * The process that is all controlled disks of a lab: `server.ts CONTROL-SOCKET`, in the lab's network. Machines reach
 * their disks over the management network; the lab sends it commands, a line of JSON each, answered by a line of JSON.
 */
import { chmodSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Disk } from '../../fuse-disk/disk.ts';
import { LogWriter } from '../../write-log.ts';
import type { DiskCommand, DiskStatus } from './client.ts';
import { DiskExport } from './export.ts';
import { NbdSession } from './protocol.ts';

const address = '10.78.0.254';
const port = 10_809;

const [controlPath] = process.argv.slice(2);
if (!controlPath) throw new Error('usage: server.ts CONTROL-SOCKET');
const exports = new Map<string, DiskExport>();

function carryOut(command: DiskCommand): object {
  if (command.do === 'create') {
    const { name, base, sizeBytes, log } = command;
    if (!exports.has(name))
      exports.set(name, new DiskExport(new Disk(base, sizeBytes, log ? new LogWriter(log, sizeBytes) : undefined)));
    return {};
  }
  if (command.do === 'power-cut') {
    for (const [name, one] of exports) if (name.startsWith(command.prefix)) one.disconnect();
    return {};
  }
  const one = exports.get(command.name);
  if (!one) return { error: `there is no controlled disk ${command.name}` };
  switch (command.do) {
    case 'fault':
      one.setFault(command.fault);
      return {};
    case 'slow':
      one.disk.delayMs = command.delayMs;
      return {};
    case 'ignore-flush':
      one.disk.ignoreFlush = command.on;
      return {};
    case 'disconnect':
      one.disconnect();
      return {};
    case 'remove':
      one.disconnect();
      exports.delete(command.name);
      return {};
    case 'status':
      return {
        ...one.disk.counts,
        fault: one.disk.fault,
        delayMs: one.disk.delayMs,
        held: one.heldRequests,
        connected: one.connections > 0,
      } satisfies DiskStatus;
  }
}

const control = createServer((socket) => {
  socket.on('error', () => undefined);
  createInterface(socket).on('line', (line) => {
    let answer: object;
    try {
      answer = carryOut(JSON.parse(line) as DiskCommand);
    } catch (error) {
      answer = { error: String(error) };
    }
    socket.write(`${JSON.stringify(answer)}\n`);
  });
});

const disks = createServer({ noDelay: true }, (socket: Socket) => {
  // A machine that lost its power resets nothing; its disks are disconnected by command.
  socket.on('error', () => undefined);
  const session = new NbdSession({
    sizeOf: (name) => exports.get(name)?.disk.sizeBytes,
    take: (name, requests) => exports.get(name)?.take(socket, requests),
    send: (data) => void socket.write(data),
    end: () => void socket.end(),
    began: (name) => exports.get(name)?.attach(socket),
  });
  socket.on('data', (data) => session.receive(data));
});
// Two commands may start this process at the same time: the address goes to one of them.
disks.once('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EADDRINUSE') throw error;
  process.exit(0);
});
disks.listen(port, address, () => control.listen(controlPath, () => chmodSync(controlPath, 0o600)));
