import { closeSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';

/** Of struct MDB_page and struct MDB_meta in LMDB's mdb.c, on 64-bit machines: byte offsets in the first page. */
const pageFlagsAt = 18;
const magicAt = 24;
const versionAt = 28;
const metaPageFlag = 0x08;
const magic = 0xbeefc0de;
const dataVersion = 2;
/** LMDB's first write is two pages; what is larger was used. */
const unusedBytes = 2 * 4096;

/**
 * Looks at the file before the library does, because lmdb's native code crashes the process when it closes an
 * environment that it could not open. Removes a file that consists of zeroes alone: a creation that a power cut ended
 * before anything was acknowledged.
 *
 * @param file data.mdb
 * @returns what is wrong with it; undefined when it is sound or not there
 */
export function problemOfFile(file: string): string | undefined {
  const sizeBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes === 0) return undefined;
  if (sizeBytes <= unusedBytes && readFileSync(file).every((byte) => byte === 0)) {
    rmSync(file);
    return undefined;
  }
  if (sizeBytes < unusedBytes) return `data.mdb has only ${sizeBytes} bytes`;
  const page = Buffer.alloc(32);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, page, 0, page.length, 0);
  } finally {
    closeSync(descriptor);
  }
  if ((page.readUInt16LE(pageFlagsAt) & metaPageFlag) === 0 || page.readUInt32LE(magicAt) !== magic)
    return 'data.mdb is not an LMDB file';
  const version = page.readUInt32LE(versionAt) & 0xffff;
  return version === dataVersion ? undefined : `data.mdb has LMDB's format ${version}, not ${dataVersion}`;
}
