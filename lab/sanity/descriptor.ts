/** The CSI specification as its published Go module has it, to be compared and to be spoken. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  createFileRegistry,
  type DescEnum,
  type DescExtension,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescService,
  fromBinary,
  type UnknownField,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** The descriptor of csi.proto as the Go module has it. */
export function publishedFile(folder: string): DescFile {
  const scratch = mkdtempSync(path.join(tmpdir(), 'azekura-proto-'));
  try {
    copyFileSync(path.join(folder, 'csi.proto'), path.join(scratch, 'csi.proto'));
    const image = path.join(scratch, 'image.binpb');
    const buf = path.join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'buf');
    execFileSync(buf, ['build', scratch, '--as-file-descriptor-set', '--output', image], { cwd: scratch });
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));
    const file = registry.getFile('csi.proto');
    if (!file) throw new Error('the module has no csi.proto');
    return file;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Everything that has a meaning on the wire or for a caller, as lines that can be compared. Comments and order have none. */
export function facts(file: DescFile): string[] {
  const lines: string[] = [`package ${file.proto.package}`, `syntax ${file.proto.syntax}`];
  for (const message of file.messages) lines.push(...messageFacts(message));
  for (const each of file.enums) lines.push(...enumFacts(each));
  for (const service of file.services) lines.push(...serviceFacts(service));
  for (const extension of file.extensions) lines.push(extensionFacts(extension));
  return lines.sort();
}

function messageFacts(message: DescMessage): string[] {
  const { proto } = message;
  return [
    `message ${message.typeName}${options(proto.options)}`,
    ...message.fields.map((field) => `field ${message.typeName} ${fieldFacts(field)}`),
    ...message.oneofs.map(
      (oneof) =>
        `oneof ${message.typeName}.${oneof.name}: ${oneof.fields
          .map((field) => field.name)
          .sort()
          .join()}`,
    ),
    ...proto.reservedRange.map((range) => `reserved ${message.typeName} ${range.start}-${range.end}`),
    ...message.nestedMessages.flatMap(messageFacts),
    ...message.nestedEnums.flatMap(enumFacts),
  ];
}

function fieldFacts(field: DescField | DescExtension): string {
  const { proto } = field;
  return `${proto.number} ${proto.name} type=${proto.type} label=${proto.label} of=${proto.typeName} json=${proto.jsonName} oneof=${field.oneof?.name ?? '-'}${options(proto.options)}`;
}

function enumFacts(each: DescEnum): string[] {
  return [
    `enum ${each.typeName}${options(each.proto.options)}`,
    ...each.values.map(
      (value) => `value ${each.typeName} ${value.number} ${value.name}${options(value.proto.options)}`,
    ),
    ...each.proto.reservedRange.map((range) => `reserved ${each.typeName} ${range.start}-${range.end}`),
  ];
}

function serviceFacts(service: DescService): string[] {
  return [
    `service ${service.typeName}${options(service.proto.options)}`,
    ...service.methods.map(
      ({ name, input, output, methodKind, proto }) =>
        `rpc ${service.typeName}.${name}(${input.typeName}) ${methodKind} ${output.typeName}${options(proto.options)}`,
    ),
  ];
}

function extensionFacts(extension: DescExtension): string {
  return `extend ${extension.extendee.typeName} ${fieldFacts(extension)}`;
}

/** Custom options (secret, alpha) arrive as unknown fields: number and bytes say it all. */
function options(set: { readonly $unknown?: UnknownField[] | undefined } | undefined): string {
  const unknown = (set?.$unknown ?? []).map(({ no, data }) => `${no}=${Buffer.from(data).toString('hex')}`);
  return unknown.length > 0 ? ` [${unknown.sort().join()}]` : '';
}
