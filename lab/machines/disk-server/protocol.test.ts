import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commands, encodeReply, type NbdRequest, NbdSession } from './protocol.ts';

const exportName = 'n1c0';
const sizeBytes = 2 ** 30;

function session() {
  const sent: Buffer[] = [];
  const taken: NbdRequest[] = [];
  const seen = { began: '', ended: false };
  const one = new NbdSession({
    sizeOf: (name) => (name === exportName ? sizeBytes : undefined),
    began: (name) => (seen.began = name),
    take: (_, requests) => taken.push(...requests.map((request) => ({ ...request, data: Buffer.from(request.data) }))),
    send: (data) => sent.push(data),
    end: () => (seen.ended = true),
  });
  return { one, sent: () => Buffer.concat(sent), taken, seen };
}

const flags = Buffer.from([0, 0, 0, 3]);

function option(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.write('IHAVEOPT', 0, 'latin1');
  head.writeUInt32BE(type, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

function go(name: string): Buffer {
  const data = Buffer.alloc(4 + name.length + 2);
  data.writeUInt32BE(name.length, 0);
  data.write(name, 4);
  return option(7, data);
}

function request(type: number, handle: bigint, offsetBytes: number, payload: Buffer | number): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(0x25609513, 0);
  head.writeUInt16BE(type, 6);
  head.writeBigUInt64BE(handle, 8);
  head.writeBigUInt64BE(BigInt(offsetBytes), 16);
  head.writeUInt32BE(typeof payload === 'number' ? payload : payload.length, 24);
  return typeof payload === 'number' ? head : Buffer.concat([head, payload]);
}

describe('an NBD connection', () => {
  it('greets, names the size and that flushes are wanted', () => {
    const { one, sent, seen } = session();
    one.receive(Buffer.concat([flags, go(exportName)]));
    const answer = sent();
    expect(answer.toString('latin1', 0, 16)).toBe('NBDMAGICIHAVEOPT');
    expect(answer.readUInt16BE(16)).toBe(3);
    // The reply's head is 20 bytes; its information begins with a type of 2 bytes.
    expect(answer.readUInt32BE(18 + 12)).toBe(3);
    expect(answer.readBigUInt64BE(18 + 20 + 2)).toBe(BigInt(sizeBytes));
    expect(answer.readUInt16BE(18 + 20 + 10)).toBe(5);
    expect(seen).toEqual({ began: exportName, ended: false });
  });

  it('refuses an unknown export and goes on with another option', () => {
    const { one, sent, seen } = session();
    one.receive(Buffer.concat([flags, go('nothing')]));
    expect(sent().readUInt32BE(18 + 12)).toBe(0x80000006);
    one.receive(option(8, Buffer.alloc(0)));
    expect(sent().readUInt32BE(18 + 20 + 12)).toBe(0x80000001);
    one.receive(go(exportName));
    expect(seen).toEqual({ began: exportName, ended: false });
  });

  it('ends when what comes is no request', () => {
    const { one, seen } = session();
    one.receive(Buffer.concat([flags, go(exportName), Buffer.alloc(28, 1)]));
    expect(seen.ended).toBe(true);
  });

  it('hands on the same requests however the bytes are cut', () => {
    const one = fc.record({
      type: fc.constantFrom(commands.read, commands.write, commands.flush),
      handle: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      offsetBytes: fc.integer({ min: 0, max: sizeBytes }),
      payload: fc.uint8Array({ minLength: 1, maxLength: 100 }),
    });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1 }), fc.array(fc.integer({ min: 1, max: 90 })), (requests, cuts) => {
        const bytes = Buffer.concat([
          flags,
          go(exportName),
          ...requests.map(({ type, handle, offsetBytes, payload }) =>
            request(type, handle, offsetBytes, type === commands.write ? Buffer.from(payload) : payload.length),
          ),
        ]);
        const { one: connection, taken } = session();
        let at = 0;
        for (const cut of cuts) {
          connection.receive(Buffer.from(bytes.subarray(at, at + cut)));
          at += cut;
        }
        connection.receive(Buffer.from(bytes.subarray(at)));
        expect(
          taken.map(({ type, handle, offsetBytes, lengthBytes, data }) => ({
            type,
            handle,
            offsetBytes,
            payload: type === commands.write ? [...data] : lengthBytes,
          })),
        ).toEqual(
          requests.map(({ type, handle, offsetBytes, payload }) => ({
            type,
            handle,
            offsetBytes,
            payload: type === commands.write ? [...payload] : payload.length,
          })),
        );
      }),
    );
  });

  it('answers with the errno and the handle', () => {
    const reply = encodeReply(7n, 28);
    expect(reply.readUInt32BE(0)).toBe(0x67446698);
    expect(reply.readUInt32BE(4)).toBe(28);
    expect(reply.readBigUInt64BE(8)).toBe(7n);
    expect(encodeReply(7n, 0, Buffer.from('data')).toString('latin1', 16)).toBe('data');
  });
});
