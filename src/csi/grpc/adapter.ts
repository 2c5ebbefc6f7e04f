import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import type { ServerWritableStream, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { AzekuraError } from '../../model/errors.ts';
import type { Call } from './call.ts';
import { checkLimits } from './limits.ts';

type Request<M extends { input: DescMessage }> = MessageShape<M['input']>;
type Response<M extends { output: DescMessage }> = MessageInitShape<M['output']>;

/** The implementation of a generated service: one async function, or one async generator, for each of its methods. */
export type Handlers<S> =
  S extends GenService<infer Methods extends GenServiceMethods>
    ? {
        readonly [K in keyof Methods]: Methods[K] extends { methodKind: 'server_streaming' }
          ? (request: Request<Methods[K]>, call: Call) => AsyncIterable<Response<Methods[K]>>
          : (request: Request<Methods[K]>, call: Call) => Promise<Response<Methods[K]>>;
      }
    : never;

/** Runs one call: makes its Call, counts and logs it, and turns what is thrown into a status. */
export interface CallRunner {
  unary(
    method: DescMethod,
    surface: Surface,
    work: (call: Call) => Promise<Worked<Buffer>>,
    answer: (error: object | null, value?: Buffer) => void,
  ): Promise<void>;
  stream(
    method: DescMethod,
    surface: Surface,
    work: (call: Call) => Promise<Worked<AsyncIterable<Buffer>>>,
    sink: ServerWritableStream<Buffer, Buffer>,
  ): Promise<void>;
}

/** The decoded request, for the log, and the work itself. */
export interface Worked<T> {
  readonly request: Message;
  readonly result: () => Promise<T> | T;
}

/** What a runner needs of grpc-js' call object. */
export interface Surface {
  readonly cancelled: boolean;
  getDeadline(): Date | number;
  getMetadata(key: string): string | undefined;
  onCancelled(listener: () => void): void;
}

/**
 * A generated service and its handlers in the form that grpc-js serves. Messages are decoded here and not by grpc-js,
 * which would answer INTERNAL to one that cannot be decoded.
 */
export function adapt<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  runner: CallRunner,
): { readonly definition: ServiceDefinition; readonly implementation: UntypedServiceImplementation } {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const streaming = method.methodKind === 'server_streaming';
    definition[method.name] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: false,
      responseStream: streaming,
      originalName: method.localName,
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    };
    const handler = (handlers as Record<string, unknown>)[method.localName];
    implementation[method.name] = streaming
      ? streamHandler(method, handler as StreamHandler, runner)
      : unaryHandler(method, handler as UnaryHandler, runner);
  }
  return { definition, implementation };
}

type UnaryHandler = (request: Message, call: Call) => Promise<MessageInitShape<DescMessage>>;
type StreamHandler = (request: Message, call: Call) => AsyncIterable<MessageInitShape<DescMessage>>;

interface GrpcCall {
  readonly request: Buffer;
  readonly cancelled: boolean;
  readonly metadata: { get(key: string): readonly (string | Buffer)[] };
  getDeadline(): Date | number;
  on(event: 'cancelled', listener: () => void): unknown;
}

function unaryHandler(method: DescMethod, handler: UnaryHandler, runner: CallRunner) {
  return (grpcCall: GrpcCall, answer: (error: object | null, value?: Buffer) => void) => {
    void runner.unary(
      method,
      surfaceOf(grpcCall),
      async (call) => {
        const request = decode(method.input, grpcCall.request);
        return { request, result: async () => encode(method.output, await handler(request, call)) };
      },
      answer,
    );
  };
}

function streamHandler(method: DescMethod, handler: StreamHandler, runner: CallRunner) {
  return (grpcCall: GrpcCall & ServerWritableStream<Buffer, Buffer>) => {
    void runner.stream(
      method,
      surfaceOf(grpcCall),
      async (call) => {
        const request = decode(method.input, grpcCall.request);
        return { request, result: () => encoded(method.output, handler(request, call)) };
      },
      grpcCall,
    );
  };
}

async function* encoded(
  schema: DescMessage,
  messages: AsyncIterable<MessageInitShape<DescMessage>>,
): AsyncIterable<Buffer> {
  for await (const message of messages) yield encode(schema, message);
}

function encode(schema: DescMessage, init: MessageInitShape<DescMessage>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}

/** @throws AzekuraError InvalidArgument for bytes that are no such message, or beyond CSI's limits */
function decode(schema: DescMessage, bytes: Buffer): Message {
  let request: Message;
  try {
    request = fromBinary(schema, bytes);
  } catch (error) {
    throw new AzekuraError('InvalidArgument', `the request is not a valid ${schema.name}`, { cause: error });
  }
  checkLimits(schema, request);
  return request;
}

function surfaceOf(call: GrpcCall): Surface {
  return {
    get cancelled() {
      return call.cancelled;
    },
    getDeadline: () => call.getDeadline(),
    getMetadata: (key) => {
      const value = call.metadata.get(key)[0];
      return typeof value === 'string' ? value : undefined;
    },
    onCancelled: (listener) => call.on('cancelled', listener),
  };
}
