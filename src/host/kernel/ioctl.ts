/**
 * Numbers of the ioctls in use, built as include/uapi/asm-generic/ioctl.h does:
 * direction (1 write, 2 read) << 30 | argument size << 16 | type << 8 | number.
 */
function number(direction: 0 | 1 | 2 | 3, type: string | number, sequence: number, sizeBytes: number): number {
  const letter = typeof type === 'string' ? type.charCodeAt(0) : type;
  return direction * 2 ** 30 + sizeBytes * 2 ** 16 + letter * 2 ** 8 + sequence;
}

/** include/uapi/linux/fs.h, linux/fiemap.h, linux/loop.h; fs/xfs/libxfs/xfs_fs.h; linux/ext4.h */
export const ioctls = {
  FICLONE: number(1, 0x94, 9, 4),
  FICLONERANGE: number(1, 0x94, 13, 32),
  FIFREEZE: number(3, 'X', 119, 4),
  FITHAW: number(3, 'X', 120, 4),
  FITRIM: number(3, 'X', 121, 24),
  FIEMAP: number(3, 'f', 11, 32),
  FS_IOC_FSGETXATTR: number(2, 'X', 31, 28),
  FS_IOC_FSSETXATTR: number(1, 'X', 32, 28),
  XFS_IOC_FREE_EOFBLOCKS: number(2, 'X', 58, 128),
  XFS_IOC_FSGEOMETRY: number(2, 'X', 126, 256),
  XFS_IOC_FSGROWFSDATA: number(1, 'X', 110, 16),
  EXT4_IOC_RESIZE_FS: number(1, 'f', 16, 8),
  LOOP_CLR_FD: 0x4c01,
  LOOP_SET_STATUS64: 0x4c04,
  LOOP_GET_STATUS64: 0x4c05,
  LOOP_CHANGE_FD: 0x4c06,
  LOOP_SET_CAPACITY: 0x4c07,
  LOOP_CONFIGURE: 0x4c0a,
  LOOP_CTL_GET_FREE: 0x4c82,
} as const;

export type IoctlName = keyof typeof ioctls;
