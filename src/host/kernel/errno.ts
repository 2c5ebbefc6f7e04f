import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

const { errno: node } = constants;

/** Numbers of the errnos that are told apart (include/uapi/asm-generic/errno*.h; the same on all 64-bit platforms of ours). */
export const errno = {
  EPERM: node.EPERM,
  ENOENT: node.ENOENT,
  EIO: node.EIO,
  ENXIO: node.ENXIO,
  EAGAIN: node.EAGAIN,
  EACCES: node.EACCES,
  EBUSY: node.EBUSY,
  EEXIST: node.EEXIST,
  EXDEV: node.EXDEV,
  ENODEV: node.ENODEV,
  ENOTDIR: node.ENOTDIR,
  EISDIR: node.EISDIR,
  EINVAL: node.EINVAL,
  ENOTTY: node.ENOTTY,
  ETXTBSY: node.ETXTBSY,
  EFBIG: node.EFBIG,
  ENOSPC: node.ENOSPC,
  EROFS: node.EROFS,
  ENOTEMPTY: node.ENOTEMPTY,
  ELOOP: node.ELOOP,
  ENODATA: node.ENODATA,
  EOPNOTSUPP: node.EOPNOTSUPP,
  ENOSYS: node.ENOSYS,
  /** Also EFSCORRUPTED: what XFS and ext4 answer when they find their own structures damaged. */
  EUCLEAN: 117,
  EDQUOT: node.EDQUOT,
} as const;

const beyondNode: Readonly<Record<number, readonly [string, string]>> = {
  15: ['ENOTBLK', 'block device required'],
  117: ['EUCLEAN', 'structure needs cleaning'],
  123: ['ENOMEDIUM', 'no medium found'],
};

/** Name and sentence of an errno, for example ["ENOSPC", "no space left on device"]. */
export function describeErrno(number: number): readonly [name: string, text: string] {
  const known = beyondNode[number] ?? getSystemErrorMap().get(-number);
  if (known) return known;
  const name = Object.entries(node).find(([, value]) => value === number)?.[0];
  return [name ?? `errno ${number}`, name ?? 'unknown error'];
}
