import { type DescField, type DescMessage, getOption, hasOption, type Message } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { csi_secret } from '../../gen/csi/csi_pb.js';

const longestText = 256;
const mostEntries = 32;

/**
 * A message as plain data for the log, without the fields that CSI marks as secret, whatever message they are in.
 * Long texts, lists and maps are cut, so that no caller can fill the log.
 */
export function loggable(schema: DescMessage, message: Message): Record<string, unknown> {
  return plain(reflect(schema, message));
}

/** Whether CSI marks the field as secret. */
export function isSecret(field: DescField): boolean {
  return hasOption(field, csi_secret) && getOption(field, csi_secret);
}

function plain(message: ReflectMessage): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (isSecret(field)) {
      result[field.name] = '(secret)';
    } else if (field.fieldKind === 'message') {
      result[field.name] = plain(message.get(field));
    } else if (field.fieldKind === 'list') {
      const items = [...message.get(field)];
      result[field.name] = items.slice(0, mostEntries).map((item) => plainValue(item));
      if (items.length > mostEntries) result[`${field.name}_omitted`] = items.length - mostEntries;
    } else if (field.fieldKind === 'map') {
      const entries = [...message.get(field)];
      result[field.name] = Object.fromEntries(
        entries.slice(0, mostEntries).map(([key, value]) => [cut(String(key)), plainValue(value)]),
      );
      if (entries.length > mostEntries) result[`${field.name}_omitted`] = entries.length - mostEntries;
    } else {
      result[field.name] = plainValue(message.get(field));
    }
  }
  return result;
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return cut(value);
  if (isReflectMessage(value)) return plain(value);
  return value;
}

function isReflectMessage(value: unknown): value is ReflectMessage {
  return typeof value === 'object' && value !== null && 'desc' in value && 'fields' in value;
}

function cut(text: string): string {
  return text.length > longestText ? `${text.slice(0, longestText)}…` : text;
}
