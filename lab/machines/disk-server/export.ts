/** A controlled disk behind its connections: the bytes, log and faults of `fuse-disk/disk.ts`, asked over NBD. */
import type { Socket } from 'node:net';
import { type Disk, DiskError, type Fault } from '../../fuse-disk/disk.ts';
import { commands, encodeReply, type NbdRequest } from './protocol.ts';

interface Asked {
  readonly socket: Socket;
  readonly request: NbdRequest;
}

export class DiskExport {
  readonly disk: Disk;
  readonly #sockets = new Set<Socket>();
  #held: Asked[] = [];
  #queue: Promise<void> = Promise.resolve();

  constructor(disk: Disk) {
    this.disk = disk;
  }

  attach(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** The disk is pulled out, or its machine has lost its power: what was not carried out never will be. */
  disconnect(): void {
    this.#held = [];
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  get connections(): number {
    return this.#sockets.size;
  }

  get heldRequests(): number {
    return this.#held.length;
  }

  setFault(fault: Fault): void {
    this.disk.fault = fault;
    if (fault === 'hang') return;
    const held = this.#held;
    this.#held = [];
    this.#serve(held);
  }

  take(socket: Socket, requests: readonly NbdRequest[]): void {
    const asked = requests.map((request) => ({ socket, request }));
    if (this.disk.fault === 'hang') this.#held.push(...asked);
    else this.#serve(asked);
  }

  #serve(batch: readonly Asked[]): void {
    if (batch.length === 0) return;
    if (this.disk.delayMs === 0) {
      this.#answerAll(batch);
      return;
    }
    // A slow disk takes its time for each request, one after the other, and holds up no other disk.
    for (const one of batch)
      this.#queue = this.#queue.then(async () => {
        await new Promise((resolve) => setTimeout(resolve, this.disk.delayMs));
        if (this.disk.fault === 'hang') this.#held.push(one);
        else this.#answer(one);
      });
  }

  /** Flushes go before the writes that were under way at the same time: they promise nothing about those. */
  #answerAll(batch: readonly Asked[]): void {
    const isWrite = (one: Asked) => one.request.type === commands.write;
    for (const one of [...batch.filter((each) => !isWrite(each)), ...batch.filter(isWrite)]) this.#answer(one);
  }

  #answer({ socket, request }: Asked): void {
    if (socket.destroyed) return;
    if (request.type === commands.disconnect) {
      socket.end();
      return;
    }
    try {
      socket.write(encodeReply(request.handle, 0, this.#carryOut(request)));
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      socket.write(encodeReply(request.handle, error.errno));
    }
  }

  #carryOut(request: NbdRequest): Buffer | undefined {
    switch (request.type) {
      case commands.read:
        return this.disk.read(request.offsetBytes, request.lengthBytes);
      case commands.write:
        this.disk.write(request.offsetBytes, request.data);
        return undefined;
      case commands.flush:
        this.disk.flush();
        return undefined;
      default:
        throw new DiskError(errnoInvalid);
    }
  }
}

const errnoInvalid = 22;
