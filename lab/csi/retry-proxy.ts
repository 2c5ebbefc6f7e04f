/**
 * A CSI socket in front of another that repeats every call until it has a definite answer, as Kubernetes does. So
 * csi-sanity, which repeats nothing, can be run against a driver that is killed again and again.
 */
import { unlinkSync } from 'node:fs';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { Controller, GroupController, Identity, Node } from '../../src/gen/csi/csi_pb.js';
import { CallError, type CsiClient } from './client.ts';
import { persistCall } from './persist.ts';

export interface RetryProxy {
  readonly socketPath: string;
  /** Calls that came, and calls that were made for them. */
  readonly counts: { calls: number; attempts: number };
  close(): void;
}

const same = (bytes: Buffer) => bytes;

/** @param client of the driver behind */
export async function startRetryProxy(socketPath: string, client: CsiClient): Promise<RetryProxy> {
  const server = new Server();
  const counts = { calls: 0, attempts: 0 };
  for (const service of [Identity, Controller, GroupController, Node]) {
    const definition: Record<string, ServiceDefinition[string]> = {};
    const implementation: Record<
      string,
      (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => void
    > = {};
    for (const { name } of service.methods) {
      const path = `/${service.typeName}/${name}`;
      definition[name] = {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      };
      implementation[name] = (call, answer) => {
        counts.calls += 1;
        forward(client, path, call.request, counts).then(
          (bytes) => answer(null, bytes),
          (error: unknown) =>
            answer(
              error instanceof CallError
                ? { code: error.code, details: error.message }
                : { code: status.UNKNOWN, details: String(error) },
            ),
        );
      };
    }
    server.addService(definition, implementation);
  }
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  return {
    socketPath,
    counts,
    close: () => {
      server.forceShutdown();
      try {
        unlinkSync(socketPath);
      } catch {
        // grpc-js has removed it.
      }
    },
  };
}

async function forward(client: CsiClient, path: string, bytes: Buffer, counts: { attempts: number }): Promise<Buffer> {
  const ask = () => {
    counts.attempts += 1;
    return client.raw(path, bytes, { deadlineMs: 20_000 });
  };
  return persistCall(async () => {
    try {
      return await ask();
    } catch (error) {
      // A list answers ABORTED to a wrong token, for good.
      if (error instanceof CallError && error.code === status.ABORTED && path.includes('/List'))
        return Promise.reject(new Definite(error));
      throw error;
    }
  }).catch((error: unknown) => {
    throw error instanceof Definite ? error.answer : error;
  });
}

class Definite extends Error {
  readonly answer: CallError;
  constructor(answer: CallError) {
    super(answer.message);
    this.answer = answer;
  }
}
