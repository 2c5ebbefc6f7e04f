import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { AzekuraError } from '../../model/errors.ts';
import { isSecret } from './redact.ts';

/** CSI 1.13, "Size Limits": 128 bytes for a string and 4 KiB for a map or list of strings, unless a field says otherwise. */
const stringBytes = 128;
const collectionBytes = 4_096;
/** Linux's PATH_MAX, less the final zero. */
const pathBytes = 4_095;
const longer: Readonly<Record<string, number>> = {
  node_id: 256,
  staging_target_path: pathBytes,
  target_path: pathBytes,
  volume_path: pathBytes,
  volume_publish_path: pathBytes,
  starting_token: 1_024,
  // Of the kubelet's registration: what it has to say of a failure.
  error: 65_536,
};
const mostItems = 1_024;
/** CSI 1.13 bans these in names; no other text of a request has a use for them. */
const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/**
 * Refuses a request that is beyond CSI's size limits or has control characters in it, before anything looks at it.
 *
 * @throws AzekuraError InvalidArgument that names the field, never its content
 */
export function checkLimits(schema: DescMessage, message: Message): void {
  check(reflect(schema, message));
}

function check(message: ReflectMessage): void {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (field.fieldKind === 'message') check(message.get(field));
    else if (field.fieldKind === 'scalar') checkText(field, message.get(field), longer[field.name] ?? stringBytes);
    else if (field.fieldKind === 'list') checkList(field, [...message.get(field)]);
    else if (field.fieldKind === 'map') checkMap(field, [...message.get(field)]);
  }
}

function checkText(field: DescField, value: unknown, maxBytes: number): number {
  if (typeof value !== 'string') return 0;
  const bytes = Buffer.byteLength(value);
  if (bytes > maxBytes) refuse(field, `has ${bytes} bytes; at most ${maxBytes} are possible`);
  if (!isSecret(field) && control.test(value)) refuse(field, 'has a control character in it');
  return bytes;
}

function checkList(field: DescField, items: readonly unknown[]): void {
  if (items.length > mostItems) refuse(field, `has ${items.length} entries; at most ${mostItems} are possible`);
  let bytes = 0;
  for (const item of items) {
    if (typeof item === 'object' && item !== null && 'desc' in item) check(item as ReflectMessage);
    else bytes += checkText(field, item, collectionBytes);
  }
  if (bytes > collectionBytes && field.name === 'mount_flags')
    refuse(field, `has ${bytes} bytes in all; at most ${collectionBytes} are possible`);
}

function checkMap(field: DescField, entries: readonly (readonly [unknown, unknown])[]): void {
  let bytes = 0;
  for (const [key, value] of entries) {
    bytes += checkText(field, key, collectionBytes) + checkText(field, value, collectionBytes);
    if (bytes > collectionBytes) refuse(field, `has more than ${collectionBytes} bytes`);
  }
}

function refuse(field: DescField, problem: string): never {
  throw new AzekuraError('InvalidArgument', `field ${field.name} ${problem}`);
}
