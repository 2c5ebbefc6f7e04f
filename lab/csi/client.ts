import {
  create,
  type DescFile,
  type DescMethod,
  type DescService,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { Controller, GroupController, Identity, Node, SnapshotMetadata } from '../../src/gen/csi/csi_pb.js';

/** How a call is made. */
export interface CallOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  readonly requestId?: string;
}

/** A call that was answered with a code other than OK. */
export class CallError extends Error {
  readonly code: number;
  readonly codeName: string;
  readonly metadata: Metadata;

  constructor(method: string, error: ServiceError) {
    super(`${method}: ${status[error.code] ?? error.code}: ${error.details}`);
    this.code = error.code;
    this.codeName = status[error.code] ?? String(error.code);
    this.metadata = error.metadata;
  }
}

type Methods<S> =
  S extends GenService<infer M extends GenServiceMethods>
    ? {
        readonly [K in keyof M]: M[K] extends { methodKind: 'server_streaming' }
          ? (request: MessageInitShape<M[K]['input']>, options?: CallOptions) => Promise<MessageShape<M[K]['output']>[]>
          : (request: MessageInitShape<M[K]['input']>, options?: CallOptions) => Promise<MessageShape<M[K]['output']>>;
      }
    : never;

/** A client of all CSI services on a unix socket. */
export interface CsiClient {
  readonly identity: Methods<typeof Identity>;
  readonly controller: Methods<typeof Controller>;
  readonly group: Methods<typeof GroupController>;
  readonly metadata: Methods<typeof SnapshotMetadata>;
  readonly node: Methods<typeof Node>;
  /** Sends bytes that need not be a message. */
  raw(path: string, bytes: Uint8Array, options?: CallOptions): Promise<Buffer>;
  close(): void;
}

/** @param authority sent as :authority; "localhost" unless told, as Go's gRPC does for unix sockets */
export function connectCsi(socketPath: string, options: { readonly authority?: string } = {}): CsiClient {
  const client = connect(socketPath, options.authority);
  return {
    identity: methods(client, Identity),
    controller: methods(client, Controller),
    group: methods(client, GroupController),
    metadata: methods(client, SnapshotMetadata),
    node: methods(client, Node),
    raw: (path, bytes, callOptions) => unary(client, path, Buffer.from(bytes), callOptions),
    close: () => client.close(),
  };
}

/** A call of a service that is known by its descriptor only: requests and answers are those of its JSON form. */
export type DescribedCall = (method: string, request: JsonValue) => Promise<JsonValue>;

/**
 * A client that speaks a published version of the interface, with that version's own descriptor.
 *
 * @param file csi.proto of that version
 */
export function connectDescribed(socketPath: string, file: DescFile): { call: DescribedCall; close(): void } {
  const client = connect(socketPath);
  return {
    call: async (name, request) => {
      const [serviceName, methodName] = name.split('.');
      const service = file.services.find((each) => each.name === serviceName);
      const method = service?.methods.find((each) => each.name === methodName);
      if (!service || !method) throw new Error(`this version has no ${name}`);
      const bytes = Buffer.from(toBinary(method.input, fromJson(method.input, request)));
      const answer = await unary(client, `/${service.typeName}/${method.name}`, bytes);
      return toJson(method.output, fromBinary(method.output, answer));
    },
    close: () => client.close(),
  };
}

function connect(socketPath: string, authority = 'localhost'): Client {
  return new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    'grpc.default_authority': authority,
    'grpc.max_receive_message_length': 64 << 20,
    'grpc.max_send_message_length': 64 << 20,
    // A driver that is killed and started again is to be found at once.
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.min_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
  });
}

function methods<S extends DescService>(client: Client, service: S): Methods<S> {
  const made: Record<string, unknown> = {};
  for (const method of service.methods) {
    const path = `/${service.typeName}/${method.name}`;
    made[method.localName] =
      method.methodKind === 'server_streaming'
        ? (init: Record<string, unknown>, options?: CallOptions) => stream(client, path, method, init, options)
        : async (init: Record<string, unknown>, options?: CallOptions) =>
            fromBinary(method.output, await unary(client, path, encode(method, init), options));
  }
  return made as Methods<S>;
}

function encode(method: DescMethod, init: Record<string, unknown>): Buffer {
  return Buffer.from(toBinary(method.input, create(method.input, init)));
}

const same = (bytes: Buffer) => bytes;

function unary(client: Client, path: string, bytes: Buffer, options: CallOptions = {}): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      path,
      same,
      same,
      bytes,
      metadataOf(options),
      callOptions(options),
      (error, answer) => {
        if (error) reject(new CallError(path, error));
        else resolve(answer ?? Buffer.alloc(0));
      },
    );
    options.signal?.addEventListener('abort', () => call.cancel(), { once: true });
  });
}

function stream(
  client: Client,
  path: string,
  method: DescMethod,
  init: Record<string, unknown>,
  options: CallOptions = {},
): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const answers: unknown[] = [];
    const call = client.makeServerStreamRequest(
      path,
      same,
      same,
      encode(method, init),
      metadataOf(options),
      callOptions(options),
    );
    options.signal?.addEventListener('abort', () => call.cancel(), { once: true });
    call.on('data', (bytes: Buffer) => answers.push(fromBinary(method.output, bytes)));
    call.on('error', (error: ServiceError) => reject(new CallError(path, error)));
    call.on('end', () => resolve(answers));
  });
}

function metadataOf(options: CallOptions): Metadata {
  const metadata = new Metadata();
  if (options.requestId) metadata.set('x-request-id', options.requestId);
  return metadata;
}

function callOptions(options: CallOptions): { deadline?: number } {
  return options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
}
